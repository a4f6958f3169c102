"""`g2rpo doctor RECIPE`: prepared mistakes are named with the next move, and the recommendation follows from the figures."""

import copy
import dataclasses
import json
import shutil

import pytest
import trl

from g2rpo.cli.doctor import run_recipe_doctor
from g2rpo.data.tasks import make
from g2rpo.method.controllers import get_controller
from g2rpo.method.planner import Planner
from g2rpo.models import BUILTIN
from g2rpo.training.doctor import examine
from g2rpo.training.doctor.advice import advise, findings
from g2rpo.training.doctor.probe import REVEALED, Level, Probe, marker_of
from g2rpo.training.doctor.setup_checks import Finding, check_deepspeed, check_seam, check_trainer
from g2rpo.training.run.recipe import resolve

CHAINS = {
    "model_name_or_path": "builtin",
    "task": "chains",
    "task_steps": [9],
    "task_size": 40,
    "rewards": ["exact"],
    "num_generations": 8,
    "max_completion_length": 112,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
}


@pytest.fixture
def examined(tmp_path):
    return lambda **fields: examine(resolve({**CHAINS, "output_dir": str(tmp_path / "run"), **fields}), problems=4)


def names(found: list[Finding]) -> list[str]:
    return [f.name for f in found]


def test_own_notation_that_leads_to_the_answer_is_to_be_imitated(examined):
    probe, found, advice = examined()
    assert found == []
    assert advice.move == "imitate first"
    assert "own notation" in advice.why
    plain, longest = probe.level("plain"), probe.level("longest")
    assert plain.rate < 0.1 < 0.8 < longest.rate
    assert plain.unended + plain.unanswered + plain.wrong + sum(plain.right) == 32
    assert probe.perplexity < 1.5
    assert probe.logprob_gap < 1e-4


def test_a_style_that_marks_answers_otherwise_than_the_model(examined):
    _, found, advice = examined(guidance_style="gsm8k")
    assert names(found) == ["style"]
    assert "marked by answer_tag; guidance_style marks them by hashes" in found[0].what
    assert (advice.move, advice.how) == ("mend the set-up first", found[0].then)
    assert "Set guidance_style to think_answer" in advice.how


def test_a_template_that_opens_a_think_block_which_the_style_does_not_close(examined, tmp_path):
    folder = tmp_path / "opens"
    shutil.copytree(BUILTIN["builtin"], folder)
    template = folder / "chat_template.jinja"
    text = template.read_text()
    assert "assistant\\n" in text
    head, _, tail = text.rpartition("assistant\\n")
    template.write_text(f"{head}assistant\\n<think>\\n{tail}")
    _, found, advice = examined(model_name_or_path=str(folder), guidance_style="boxed")
    assert found[0].name == "think block"
    assert advice.move == "mend the set-up first"
    assert advice.how == "Set guidance_style to think_answer or think_boxed."


def test_traces_that_the_model_cannot_continue(examined, tmp_path, capsys):
    _, found, advice = examined(trace_style="prose", max_completion_length=256)
    assert names(found) == ["traces"]
    assert "the model cannot continue them" in found[0].what
    assert "g2rpo harvest" in found[0].then
    assert advice.move == "imitate first"
    assert "perplexity" in advice.why
    recipe = resolve({**CHAINS, "output_dir": str(tmp_path / "run"), "trace_style": "prose"})
    assert run_recipe_doctor(recipe, problems=4, samples=2) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Recommendation: mend the set-up first (length: 4 of 4 traces do not fit" in said


# --- from figures to advice


def probe_with(rates: dict[str, float], groups: int = 8, size: int = 8, **changes) -> Probe:
    """Every group has the same share of successes; in the order of `rates`."""
    levels = []
    for name, rate in rates.items():
        right = tuple(i < round(rate * size) for i in range(size)) * groups
        levels.append(Level(name, size, right, 0, 0, 10.0, {"answer_tag": len(right)}))
    return dataclasses.replace(Probe(tuple(levels), size, 100.0, (40,), 64, "answer_tag", 0.0), **changes)


GUARDED = dict.fromkeys(REVEALED, 0.0)


@pytest.mark.parametrize(
    ("rates", "move"),
    [
        ({"plain": 0.25}, "plain GRPO"),
        ({"plain": 0.0}, "imitate first"),
        ({**GUARDED, "3/4": 0.5, "whole trace": 1.0, "trace and mark": 1.0}, "guide"),
        ({**GUARDED, "longest": 1.0, "whole trace": 1.0, "trace and mark": 1.0}, "guide"),
        ({**GUARDED, "whole trace": 0.0, "trace and mark": 1.0}, "imitate first"),
        ({**GUARDED, "plain": 1.0}, "mend the set-up first"),
    ],
)
def test_the_recommendation_follows_from_the_figures(rates, move):
    probe = probe_with(rates)
    assert advise(probe, findings(probe)).move == move


def test_failures_of_form_are_told_from_traces_that_cannot_be_continued():
    form = probe_with({**GUARDED, "whole trace": 0.0, "trace and mark": 1.0})
    path = probe_with({**GUARDED, "whole trace": 0.0, "trace and mark": 0.0})
    assert [f.name for p in (form, path) for f in findings(p)] == ["form", "traces"]


def test_sampler_and_forward_pass_that_differ_are_a_fault():
    assert names(findings(probe_with({"plain": 0.5}, logprob_gap=0.4))) == ["log-probabilities"]


def test_traces_that_stop_short_are_not_to_be_imitated(examined):
    _, found, advice = examined(trace_style="stops")
    assert names(found) == ["traces"]
    assert "do not lead to their answers" in found[0].what
    assert advice.move == "guide"


def test_prefixes_of_whole_steps_are_told_where_they_alone_lead(examined):
    probe = probe_with({**GUARDED, "whole steps": 0.5, "whole trace": 0.0, "trace and mark": 0.0}, perplexity=1e4)
    assert names(findings(probe)) == ["cut"]
    advice = advise(probe, findings(probe))
    assert (advice.move, advice.how) == ("guide", "preset: g2rpo, guidance_cut: step.")


def test_samples_that_do_not_end_are_told():
    probe = probe_with({"plain": 0.0})
    level = dataclasses.replace(probe.levels[0], unended=60)
    [found] = findings(dataclasses.replace(probe, levels=(level,)))
    assert found.name == "length"
    assert not found.fault
    assert "60 of 64 plain samples do not end within 64 tokens" in found.what


# --- checks of the set-up


OFFLOADED = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}


@pytest.mark.parametrize(
    ("version", "changes", "lost"),
    [
        ("0.15.1", {}, False),
        ("0.15.2", {}, True),
        ("0.18.9", {}, True),
        ("0.18.9", {"stage": 1}, True),
        ("0.18.9", {"stage": 3}, False),
        ("0.18.9", {"offload_optimizer": {"device": "none"}}, False),
        ("0.19.0", {}, False),
    ],
)
def test_versions_of_deepspeed_that_lost_gradients_are_named(version, changes, lost, tmp_path):
    config = {"zero_optimization": {**OFFLOADED["zero_optimization"], **changes}}
    file = tmp_path / "ds.json"
    file.write_text(json.dumps(config))
    for given in (config, str(file)):
        found = check_deepspeed(given, version)
        assert (found is not None) == lost
        assert found is None or (version in found.what and "Install deepspeed 0.19.0" in found.then)


def test_what_accelerate_says_of_deepspeed_counts(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE", "cpu")
    assert check_deepspeed(None, "0.18.9") is not None
    assert check_deepspeed(None, "0.19.8") is None


def test_a_patched_trainer_is_named(monkeypatch):
    assert check_trainer() is None

    def compute_loss(self, model, inputs):
        raise NotImplementedError

    compute_loss.__module__ = "fastlib.patches"
    monkeypatch.setattr(trl.GRPOTrainer, "_compute_loss", compute_loss)
    assert "GRPOTrainer._compute_loss is that of fastlib.patches" in check_trainer().what


def test_a_marker_that_the_tokenizer_drops_is_found_at_the_seam(tokenizer):
    problems = make("chains", "train", 3, steps=(3, 3))
    rows = [{"key": p.key, "prompt": p.prompt, "answer": p.answer, "trace": p.trace} for p in problems]

    def seam(tok, style_name, grade=lambda texts, rows: [1.0] * len(texts)):
        planner = Planner(
            get_controller("fixed"), tok, 1.0, 2, "fraction", style_name, "strict", "trace", "answer", budget=256, seed=0
        )
        return check_seam(planner, problems, rows, grade)

    assert all(seam(tokenizer, name) is None for name in ("think_answer", "think_boxed", "boxed", "gsm8k"))
    other = copy.deepcopy(tokenizer)
    other.add_special_tokens({"additional_special_tokens": ["####"]})
    assert seam(other, "gsm8k").name == "seam"
    problems = [dataclasses.replace(p, trace_answer="0") for p in problems]  # a trace with a wrong step
    assert seam(tokenizer, "boxed", lambda texts, rows: [float("boxed{0}" not in t) for t in texts]) is None
    unpaid = seam(tokenizer, "gsm8k", lambda texts, rows: [0.0] * len(texts))
    assert unpaid.name == "reward"
    assert "does not pay 9 of 9 right completions" in unpaid.what


def test_each_style_has_the_marker_that_the_graders_find():
    found = {name: marker_of(name) for name in ("think_answer", "think_boxed", "boxed", "gsm8k")}
    assert found == {"think_answer": "answer_tag", "think_boxed": "boxed", "boxed": "boxed", "gsm8k": "hashes"}
