"""An experiment file: what it lays out, and what it refuses before anything runs."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from g2rpo.errors import ConfigError, RunError
from g2rpo.lab.compare.experiment import read_experiment
from g2rpo.lab.compare.spec import BUDGETS, RunResult, spec_from_json
from g2rpo.lab.compare.treatment import ORIGIN, check_runs
from g2rpo.lab.demo import EXPERIMENT

RECIPES = sorted((Path(__file__).parents[2] / "recipes" / "experiments").glob("*.yaml"))
SMOKE = next(p for p in RECIPES if p.stem == "smoke")


@pytest.fixture
def edited(tmp_path):
    """`edited(**parts)`: the smoke experiment with parts replaced (None removes one)."""

    def build(**parts):
        path = tmp_path / "edited.yaml"
        values = {**yaml.safe_load(SMOKE.read_text()), **parts}
        path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
        return read_experiment(path)

    return build


@pytest.mark.parametrize("path", [*RECIPES, EXPERIMENT], ids=lambda p: p.stem)
def test_every_experiment_that_comes_with_the_package_resolves(path):
    experiment = read_experiment(path)
    assert experiment.question
    runs = experiment.runs()
    trained = [r for r in runs if r.stages]
    assert len(trained) == (len(experiment.arms) - 1) * len(experiment.seeds) * len(experiment.tasks)
    assert len({r.folder for r in runs}) == len(runs)


def test_a_run_is_named_by_everything_that_decides_it(edited):
    before = {r.hash for r in edited().runs()}
    assert before == {r.hash for r in edited().runs()}
    for change in ({"budget": {"sampled_tokens": 4001}}, {"evaluation": {"problems": 65}}):
        assert not before & {r.hash for r in edited(**change).runs()}
    spec = edited().runs()[-1]
    assert spec_from_json(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


def test_numbers_that_yaml_takes_for_text_are_numbers_here_too(edited):
    assert edited(budget={"sampled_tokens": "1e5"}, thresholds=["1e-1", 1]).budget.amount == 100_000


def test_stages_share_the_budget(edited):
    three = [{"method": "sft", "share": 0.2}, {"preset": "grpo"}, {"preset": "g2rpo"}]
    arms = edited(arms={"a": {"stages": three}}, against=["a"]).arms
    assert arms["base"] == ()
    assert [s.share for s in arms["a"]] == pytest.approx([0.2, 0.4, 0.4])
    assert [s.method for s in arms["a"]] == ["sft", "rl", "rl"]


@pytest.mark.parametrize(
    ("rule", "differs", "refused"),
    [
        ("none", "per_device_train_batch_size", False),
        ("none", "generation_batch_size", False),
        ("none", "num_iterations", True),
        ("none", "guidance_loss", False),
        ("none", "guidance_style", True),
        ("fixed", "guidance_ratio", False),
        ("fixed", "guidance_cut", True),
    ],
)
def test_what_follows_from_a_declared_treatment_may_differ_with_it(edited, tmp_path, rule, differs, refused):
    """TRL derives the generation batch from the batch, we the ratio from the rule: who declares the one has declared the other.
    And what does nothing in an unguided run may be anything."""
    arms = {"a": {"preset": "grpo"}, "b": {"preset": "grpo", "per_device_train_batch_size": 16}}
    experiment = edited(arms=arms, against=["a"], seeds=1, treatment=["per_device_train_batch_size"], tasks=None)
    specs = [s for s in experiment.runs() if s.stages]
    results = []
    for spec in specs:
        folder = tmp_path / spec.folder / "1-rl"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps(dict.fromkeys((*ORIGIN, "questions_digest", "data_digest"), "same")))
        (folder / "resolved.json").write_text(
            json.dumps({"training": {"guidance_controller": rule, differs: spec.arm, "beta": 0.0}})
        )
        stages, spent = [{"folder": "1-rl", "method": "rl"}], dict.fromkeys(BUDGETS, 1e9)
        results.append(RunResult(spec.arm, spec.task, spec.seed, [], 0.0, [], {}, {}, spent, stages, "same", "same"))
    if not refused:
        return check_runs(experiment, specs, results, tmp_path)
    with pytest.raises(RunError, match=differs):
        check_runs(experiment, specs, results, tmp_path)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"seedz": 3}, ["seedz", "'seeds'"]),
        ({"seeds": 0}, ["seeds is 0", "positive"]),
        ({"seeds": [1, 1]}, ["different"]),
        ({"budget": {"steps": 5}}, ["sampled_tokens"]),
        ({"budget": None}, ["budget of the experiment"]),
        ({"evaluation": {"problem": 5}}, ["Did you mean 'problems'"]),
        ({"evaluation": {"problems": 5, "during": 6}}, ["during"]),
        ({"evaluation": {"sets": {"x": {"task": "chainz"}}}}, ["chainz"]),
        ({"arms": {"base": {}}}, ["always measured"]),
        ({"arms": {"a": {"preset": "grop"}}}, ["Did you mean 'grpo'"]),
        ({"arms": {"a": {"preset": "grpo", "temperature": 0.5}}}, ["temperature", "treatment: [temperature]"]),
        ({"arms": {"a": {"preset": "grpo", "seed": 3}}}, ["seed", "sets it itself"]),
        ({"arms": {"a": {"method": "dpo"}}}, ["dpo", "rl, sft"]),
        ({"arms": {"a": {"stages": [{"share": 0.5}, {"share": 0.6}]}}}, ["add up to 1"]),
        (
            {"arms": {"a": {"preset": "g2rpo", "guidance_ratoi": 1}}},
            ["arm 'a'", "guidance_ratoi", "Did you mean 'guidance_ratio'"],
        ),
        ({"against": ["grpo"]}, ["against is 'grpo'"]),
        ({"seeds": "a"}, ["seeds is 'a'"]),
        ({"seeds": 1.5}, ["seeds is 1.5"]),
        ({"thresholds": 0.25}, ["thresholds is 0.25", "[0.5]"]),
        ({"thresholds": ["half"]}, ["thresholds is 'half'"]),
        ({"threads": "x"}, ["threads is 'x'", "whole number"]),
        ({"threads": 0}, ["threads is 0"]),
        ({"tasks": ["a"]}, ["tasks is ['a']", "names, each with its fields"]),
        ({"tasks": {"a": 3}}, ["tasks is"]),
        ({"evaluation": ["a"]}, ["evaluation is ['a']"]),
        ({"evaluation": {"pass_k": 4}}, ["pass_k of the evaluation is 4", "[8]"]),
        ({"evaluation": {"pass_k": ["a"]}}, ["pass_k of the evaluation is 'a'"]),
        ({"evaluation": {"problems": "many"}}, ["problems of the evaluation is 'many'"]),
        ({"evaluation": {"points": 0}}, ["points of the evaluation is 0"]),
        ({"evaluation": {"sets": ["longer"]}}, ["sets of the evaluation is ['longer']"]),
        ({"budget": {"sampled_tokens": "many"}}, ["sampled_tokens of the budget is 'many'", "30000"]),
        ({"budget": {"sampled_tokens": float("nan")}}, ["sampled_tokens of the budget is nan"]),
        ({"budget": {"wall_s": float("inf")}}, ["wall_s of the budget is inf"]),
        ({"arms": {"a": {"stages": "sft"}}}, ["stages of arm 'a' is 'sft'"]),
        ({"arms": {"a": {"stages": ["sft"]}}}, ["stages of arm 'a' is ['sft']"]),
        (
            {"arms": {"a": {"stages": [{"method": "sft", "share": "some"}, {"preset": "grpo"}]}}},
            ["share of a stage of arm 'a' is 'some'"],
        ),
    ],
)
def test_refuses_with_the_next_move(edited, parts, words):
    with pytest.raises(ConfigError) as error:
        edited(**{"against": None, **parts})
    for word in words:
        assert word in str(error.value)


def test_the_digest_of_the_code_covers_everything_that_decides_results(monkeypatch, tmp_path):
    import shutil

    import rlvr_graders

    import g2rpo
    from g2rpo.lab.compare.spec import source_digest

    for package in (g2rpo, rlvr_graders):
        folder = tmp_path / package.__name__
        shutil.copytree(Path(package.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(package, "__file__", str(folder / "__init__.py"))

    def digest_after(name):
        with (tmp_path / name).open("ab") as file:
            file.write(b"\n")
        source_digest.cache_clear()
        return source_digest()

    source_digest.cache_clear()
    before = source_digest()
    assert digest_after("g2rpo/cli/main.py") == before
    assert digest_after("g2rpo/lab/report/page.css") == before
    for name in (
        "g2rpo/sampling/decode.py",
        "g2rpo/models/weights/config.json",
        "g2rpo/method/prefix.py",
        "rlvr_graders/extract.py",
        "g2rpo/client.py",  # starts like the folder "cli", and lies outside it
        "g2rpo/lab/reporting.py",
    ):
        after = digest_after(name)
        assert after != before
        before = after
    source_digest.cache_clear()


def test_problems_that_are_trained_on_are_not_held_out(edited, tmp_path):
    (tmp_path / "mine.csv").write_text("prompt,answer,trace\nq,1,t\n")
    shared = {**{k: v for k, v in yaml.safe_load(SMOKE.read_text())["shared"].items() if not k.startswith("task")}}
    fields = {"shared": {**shared, "dataset_path": str(tmp_path / "mine.csv")}, "evaluation": {"problems": 1, "during": 1}}
    with pytest.raises(ConfigError, match=r"dataset_path is .*Expected a folder with a file train and a file test"):
        edited(**fields)
    fields["shared"] = {**shared, "dataset_path": str(tmp_path), "dataset_split": "test"}
    with pytest.raises(ConfigError, match=r"dataset_split is 'test'. Expected another split than test"):
        edited(**fields)
    fields["shared"] = {**shared, "dataset_path": str(tmp_path)}
    # Another file may be a further set; of itself it is all there is.
    fields["evaluation"]["sets"] = {"other": {"dataset_path": str(tmp_path / "mine.csv")}}
    assert edited(**fields)
