"""The code reward in the loop: training steps on programs, reference solutions and mutants, and nothing left running."""

import json
import math
import os
import time
from pathlib import Path

import pytest
from rlvr_graders.code import CodeReward

from g2rpo.data.completion import STYLES, full_completion
from g2rpo.data.tasks import make
from g2rpo.errors import DataError, SandboxError
from g2rpo.training.run.primary_reward import check_gold
from g2rpo.training.run.recipe import read_yaml, resolve

RECIPE = Path(__file__).parents[2] / "recipes" / "programs.yaml"


@pytest.fixture
def no_leftovers():
    """Fails when a process that the test started is still there, or was not waited for."""
    before = children()
    yield
    assert children() <= before


def children() -> set[int]:
    folder = Path(f"/proc/{os.getpid()}/task")
    return {int(pid) for task in folder.glob("*/children") for pid in task.read_text().split()}


@pytest.fixture
def reward(no_leftovers):
    try:
        made = CodeReward(workers=2)
    except SandboxError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_reference_solutions_pass_and_mutants_fail(reward):
    problems = make("programs", "train", 200, steps=(1, 4))
    right = [full_completion(p, STYLES["think_answer"]) for p in problems]
    mutants = [text.replace("return ", "return not ") for text in right]
    tests = [p.tests for p in problems]
    assert reward(right, tests) == [1.0] * 200
    # The first operation left out, where there is another one.
    longer = [i for i, p in enumerate(problems) if p.difficulty > 1]
    cut = [right[i].replace(problems[i].tests["solution"], _without_first(problems[i].tests["solution"])) for i in longer]
    assert max(reward(mutants, tests)) < 1.0
    assert max(reward(cut, [tests[i] for i in longer])) < 1.0


def _without_first(solution: str) -> str:
    head, _, *rest = solution.split("\n")
    return "\n".join([head, *rest])


def test_two_training_steps(no_leftovers, checkpoint, tmp_path):
    from g2rpo.training.run.train import train

    small = "--task_size 16 --num_generations 4 --per_device_train_batch_size 8 --max_steps 2 --max_completion_length 160"
    where = ["--model_name_or_path", checkpoint("qwen3"), "--output_dir", str(tmp_path / "run"), "--disable_tqdm", "true"]
    try:
        trainer = train(resolve(read_yaml(RECIPE), [*small.split(), *where]), quiet=True)
    except SandboxError as error:
        pytest.skip(str(error))
    [func] = trainer.reward_funcs
    func.close()
    steps = [json.loads(line)["metrics"] for line in (tmp_path / "run" / "steps.jsonl").read_text().splitlines()]
    assert len(steps) == 2
    for metrics in steps:
        assert all(math.isfinite(metrics[name]) for name in ("loss", "rewards/code_reward/mean", "reward"))
    assert sum(func.counts[name] for name in func.counts if not name.startswith("signal/")) == 16
    assert func.counts["infra_error"] == 0


@pytest.mark.parametrize("tests", [None, "no JSON", '{"kind": "function", "entry": "f", "cases": []}', '{"kind": "other"}'])
def test_rows_without_valid_tests_are_told_before_training(tests):
    reward = CodeReward(sandbox=object())  # no program is run
    good = {"tests": json.dumps(make("programs", "train", 1, steps=2)[0].tests)}
    check_gold([good], [reward])
    with pytest.raises(DataError, match=r"row 2 .* for the reward code_reward"):
        check_gold([good, {"tests": tests}], [reward])


def test_programs_graded_ahead_have_the_same_grades_and_run_once(reward, monkeypatch):
    problems = make("programs", "train", 6, steps=(1, 3))
    texts = [full_completion(p, STYLES["think_answer"]) for p in problems]
    texts[1], texts[2] = texts[1].replace("return ", "return not "), "no program"
    tests = [p.tests for p in problems]
    ran, run_many = [], reward.sandbox.run_many
    monkeypatch.setattr(reward.sandbox, "run_many", lambda requests: ran.append(len(requests)) or run_many(requests))
    wanted = [(g.verdict, g.score) for g in reward.grade(texts, tests)]
    once = sum(ran)
    for text, one in zip(texts[:4], tests, strict=False):
        reward.ahead([{"role": "assistant", "content": text}], tests=json.dumps(one, sort_keys=True))
    assert [(g.verdict, g.score) for g in reward.grade(texts, tests)] == wanted
    assert sum(ran) == 2 * once
    assert ran[-1] < once  # the last call ran the two that nobody had told of


def test_closing_does_not_wait_for_programs_that_run_ahead(no_leftovers):
    try:
        reward = CodeReward(workers=2, timeout_s=20)
    except SandboxError as error:
        pytest.skip(str(error))
    [problem] = make("programs", "train", 1, steps=1)
    for i in range(8):
        reward.ahead(f"```python\nwhile True:\n    pass  # {i}\n```", tests=problem.tests)
    time.sleep(0.5)
    began = time.monotonic()
    reward.close()
    assert time.monotonic() - began < 10
