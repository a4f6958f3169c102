"""Completions from elsewhere: labels that are known come out as they are, and a file that does not fit is told."""

import json

import pytest

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, DataError
from g2rpo.evaluation.completions import read_completions
from g2rpo.evaluation.engines import Decoding
from g2rpo.evaluation.evaluate import EvalOptions, grade_completions
from g2rpo.evaluation.suite import load_suite

SAMPLED = Decoding(1.0)
PROBLEMS = [Problem(key="a", prompt="?", answer="1"), Problem(key="b", prompt="?", answer="2")]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_by_key_and_by_index_in_any_order(tmp_path):
    file = write(tmp_path / "c.jsonl", [{"index": 1, "completion": "x", "more": 1}, {"key": "a", "completion": "y"}])
    assert read_completions(file, PROBLEMS) == [["y"], ["x"]]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"key": "a", "completion": "x"}], "completions of 'b'"),
        ([{"key": "c", "completion": "x"}], "`key` in line 1"),
        ([{"index": 2, "completion": "x"}], "a number from 0 to 1"),
        ([{"index": True, "completion": "x"}], "a number from 0 to 1"),
        ([{"completion": "x"}], "or a `key`"),
        ([{"key": "a", "completion": 4}], "`completion` in line 1"),
        (["text"], "`completion` in line 1"),
        ([{"key": k, "completion": "x"} for k in "aab"], "as many for every problem"),
    ],
)
def test_files_that_do_not_fit(tmp_path, rows, words):
    with pytest.raises(DataError) as error:
        read_completions(write(tmp_path / "c.jsonl", rows), PROBLEMS)
    assert words in str(error.value)


def test_lines_that_do_not_parse(tmp_path):
    (tmp_path / "c.jsonl").write_text('{"key": "a", "completion": "x"}\n{"key": \n')
    with pytest.raises(DataError, match="line 2 of"):
        read_completions(tmp_path / "c.jsonl", PROBLEMS)
    with pytest.raises(DataError, match="a readable file"):
        read_completions(tmp_path / "none.jsonl", PROBLEMS)


def test_known_labels_come_out_as_they_are(tmp_path):
    problems = load_suite("chains:3").problems(limit=40)
    labels = [[i % 3 == 0, i % 2 == 0] for i in range(40)]
    rows = [
        {"key": p.key, "completion": f"<think>\nhm\n</think>\n<answer>{p.answer if right else int(p.answer) + 1}</answer>"}
        for p, own in zip(problems, labels, strict=True)
        for right in own
    ]
    results = grade_completions(
        "chains:3", write(tmp_path / "c.jsonl", rows), tmp_path / "out", EvalOptions(limit=40, samples=2, decoding=SAMPLED)
    )
    lines = [json.loads(line) for line in (tmp_path / "out" / "chains-3" / "samples.jsonl").read_text().splitlines()]
    assert [bool(line["score"]) for line in lines] == [right for own in labels for right in own]
    assert results["accuracy"] == sum(map(sum, labels)) / 80


def test_more_k_than_completions(tmp_path):
    rows = [{"index": i, "completion": "x"} for i in range(4)]
    with pytest.raises(ConfigError, match="at most 1"):
        grade_completions(
            "chains:3", write(tmp_path / "c.jsonl", rows), tmp_path / "out", EvalOptions(limit=4, ks=(2,), decoding=SAMPLED)
        )


def test_all_of_gsm8k_with_known_labels(tmp_path, data_folder):
    """The reference solutions are right, and so is no solution with another number at its end."""
    problems = load_suite("gsm8k").problems(data_folder)
    assert len(problems) == 1319
    wrong = {i for i in range(1319) if i % 7 == 0}
    rows = [
        {"index": i, "completion": f"{p.trace}\n#### {p.answer + '9' if i in wrong else p.answer}"}
        for i, p in enumerate(problems)
    ]
    grade_completions("gsm8k", write(tmp_path / "c.jsonl", rows), tmp_path / "out", EvalOptions(data=data_folder))
    lines = (tmp_path / "out" / "gsm8k" / "samples.jsonl").read_text().splitlines()
    assert {i for i, line in enumerate(lines) if json.loads(line)["score"] == 0} == wrong


@pytest.mark.parametrize(
    ("name", "limit", "fenced"), [("humaneval", 12, True), ("humaneval", 12, False), ("mbpp", 12, True), ("mbppplus", 6, True)]
)
def test_reference_programs_pass_and_spoiled_ones_do_not(tmp_path, data_folder, name, limit, fenced):
    """As a chat model would answer (fenced), or as a base model continues the prompt."""
    problems = load_suite(name).problems(data_folder, limit)
    rows, wanted = [], []
    for i, p in enumerate(problems):
        code = p.tests["solution"] if fenced else p.tests["solution"].removeprefix(p.tests["prompt"])
        spoiled = i % 5 == 0
        code = code.replace("return ", "return not ") if spoiled and "return " in code else code
        wanted.append(float(code in (p.tests["solution"], p.tests["solution"].removeprefix(p.tests.get("prompt") or ""))))
        rows.append({"index": i, "completion": f"Here:\n```python\n{code}\n```\n" if fenced else code})
    file = write(tmp_path / "c.jsonl", rows)
    grade_completions(name, file, tmp_path / "out", EvalOptions(data=data_folder, limit=limit))
    lines = (tmp_path / "out" / name / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in lines] == wanted
