"""`g2rpo harvest`: right solutions of a model become traces that `dataset_path` reads, verified and counted."""

import json

import pytest
from rlvr_graders.exact import exact_match_reward
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.curation.harvest import harvest, trace_of
from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.load import load_problems
from g2rpo.data.tasks import make
from g2rpo.errors import ConfigError, DataError
from g2rpo.evaluation.checkpoint import load_checkpoint
from g2rpo.evaluation.engines import Decoding
from g2rpo.training.harvest import run_harvest
from g2rpo.training.run.recipe import resolve

SAMPLED = Decoding(temperature=1.0)


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint("builtin")


@pytest.mark.parametrize("name", STYLES)
def test_a_trace_is_what_its_style_wraps(name):
    [problem] = make("chains", "train", 1, steps=(4, 4))
    text = full_completion(problem, STYLES[name])
    assert trace_of(text, STYLES[name]) == problem.trace
    assert trace_of("The answer follows from nothing: 7", STYLES[name]) is None


def test_every_trace_belongs_to_a_right_solution_and_every_token_is_counted(checkpoint):
    problems, seen = make("chains", "train", 12, steps=(3, 3)), []

    def reward(completions, answer, tests):
        seen.extend(zip([c[0]["content"] for c in completions], answer, strict=True))
        return exact_match_reward(completions=completions, answer=answer)

    result = harvest(checkpoint, problems, reward, samples=8, max_tokens=64, decoding=SAMPLED)
    right = [text for text, answer in seen if exact_match_reward(completions=[[{"content": text}]], answer=[answer]) == [1.0]]
    assert 0 < len(result.problems) <= result.right == len(right)
    assert result.samples == len(seen) < 12 * 8  # solved problems are left alone
    assert result.tokens == sum(len(checkpoint.tokenizer(t, add_special_tokens=False)["input_ids"]) + 1 for t, _ in seen)
    for problem in result.problems:
        assert any(f"<think>\n{problem.trace}\n</think>\n<answer>{problem.answer}" in text for text in right)
    again = harvest(checkpoint, problems, exact_match_reward, samples=8, max_tokens=64, decoding=SAMPLED)
    assert again == result


def test_a_budget_of_tokens_ends_it(checkpoint):
    problems = make("chains", "train", 12, steps=(9, 9))
    result = harvest(
        checkpoint,
        problems,
        lambda completions, **columns: [0.0] * len(completions),
        samples=64,
        max_tokens=64,
        token_budget=1000,
        decoding=SAMPLED,
    )
    assert (result.problems, result.right) == ((), 0)
    assert 1000 <= result.tokens < 4000


def test_what_is_shown_counts_as_given_not_as_sampled(checkpoint):
    problems = make("chains", "train", 8, steps=(9, 9))
    result = harvest(checkpoint, problems, exact_match_reward, samples=4, reveal=1.0, max_tokens=112, decoding=SAMPLED)
    assert len(result.problems) >= 7
    assert result.tokens < 40 * result.samples
    by_key = {p.key: p for p in problems}
    assert all(p.trace[:20] == by_key[p.key].trace[:20] for p in result.problems)
    with pytest.raises(ConfigError, match="share from 0 to 1"):
        harvest(checkpoint, problems, exact_match_reward, reveal=2.0, decoding=SAMPLED)


def test_the_file_is_a_data_set_of_the_same_recipe(tmp_path):
    fields = {"task": "chains", "task_steps": [9], "task_size": 8, "rewards": ["exact"], "max_completion_length": 112}
    fields |= {"use_cpu": True, "bf16": False, "output_dir": str(tmp_path / "run"), "instruction": "Think first."}
    out = tmp_path / "traces.jsonl"
    result = run_harvest(resolve(fields), out, samples=4, reveal=1.0, token_budget=None)
    found = load_problems(path=str(out))
    assert [p.trace for p in found] == [p.trace for p in result.problems]
    assert "Think first." not in found[0].prompt[-1]["content"]
    costs = json.loads((tmp_path / "traces.jsonl.json").read_text())
    assert (costs["solved"], costs["tokens"]) == (len(found), result.tokens)
    recipe = resolve(fields, ["--dataset_path", str(out), "--preset", "prefix-rl"])
    again = recipe.data.problems()
    assert again[0].prompt[-1]["content"].endswith("Think first.")
    with pytest.raises(DataError, match="at least one success"):
        run_harvest(resolve({**fields, "max_completion_length": 4}), out, samples=1, reveal=0.0, token_budget=None)


def test_the_command_takes_fields_of_the_recipe(monkeypatch, tmp_path):
    seen = {}

    def run(recipe, out, **options):
        seen.update(few_shot=recipe.data.few_shot, **options)
        raise DataError("stop", expected="no more than the call", then="")

    monkeypatch.setattr("g2rpo.training.harvest.run_harvest", run)
    (tmp_path / "r.yaml").write_text("task: chains\nuse_cpu: true\nbf16: false\n")
    words = ["harvest", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "own.jsonl"), "--few_shot", "2", "--samples", "3"]
    assert isinstance(CliRunner().invoke(app, words).exception, DataError)
    assert (seen["few_shot"], seen["samples"]) == (2, 3)
