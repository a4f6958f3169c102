"""Known sets: one row of each, as its source describes it, through the loader under the set's name."""

import base64
import json
import pickle
import zlib

import pytest
from rlvr_graders.code.tests import parse_tests

from g2rpo.data.catalog import CATALOG, source_of
from g2rpo.data.load import load_named, load_problems, question_text
from g2rpo.data.sources import SOURCES
from g2rpo.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def packed(tests):
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


STDIN = {"input": "1 2\n", "output": "3\n", "testtype": "stdin"}
METHOD = {"input": "[1, 2]\n3", "output": "[4, 5]", "testtype": "functional"}
LCB = {
    "question_title": "Add",
    "question_content": "Add them.",
    "platform": "leetcode",
    "question_id": "77",
    "contest_id": "c",
    "contest_date": "2024-01-01T00:00:00",
    "starter_code": "",
    "difficulty": "hard",
    "public_test_cases": json.dumps([STDIN]),
    "private_test_cases": packed([STDIN]),
    "metadata": "{}",
}
HUB_PLUS = """import numpy as np
def assertion(out, exp, atol): assert out == exp
def check(candidate):
    inputs = [[1, (2, 3)], [4, ()]]
    results = [{1: 2}, None]
    for inp, exp in zip(inputs, results):
        assertion(candidate(*inp), exp, 0)
"""
ROWS = {
    "math": {"problem": "Half of 3?", "level": "Level 2", "type": "Prealgebra", "solution": "So \\boxed{\\frac{3}{2}}."},
    "math500": {
        "problem": "Half of 3?",
        "solution": "So \\boxed{\\frac{3}{2}}.",
        "answer": "\\frac{3}{2}",
        "subject": "Prealgebra",
        "level": 2,
        "unique_id": "test/prealgebra/1.json",
    },
    "openr1": {
        "problem": "P",
        "answer": "4",
        "solution": "s",
        "source": "amc_aime",
        "uuid": "u",
        "generations": ["<think>a b</think>", "<think>c</think>"],
        "is_reasoning_complete": [True, True],
        "correctness_math_verify": [True, True],
    },
    "math_curriculum": {
        "problem": "P",
        "answer": "$4$",
        "answer_raw": "4",
        "generations": "<think>c</think>4",
        "source": "olympiads",
        "tier_index": 3,
    },
    "code_cot": {
        "problem": "P",
        "generations": "<think>first read</think>x",
        "verification_info": {
            "language": "python",
            "test_cases": [{"fn_name": None, "input": "1", "output": "2", "type": "stdin_stdout"}],
        },
    },
    "verifiable_coding": {
        "source": "apps",
        "task_type": "verifiable_code",
        "in_source_id": "1",
        "problem_statement": "P",
        "problem_id": "vcp_1",
        "metadata": "{}",
        "gold_standard_solution": "```python\nprint(2)\n```",
        "verification_info": {
            "language": "python",
            "test_cases": [{"fn_name": None, "input": "1", "output": "2", "type": "stdin_stdout"}],
        },
    },
    "s1k": {"question": "Q", "solution": "4", "deepseek_thinking_trajectory": "hm", "deepseek_grade": "Yes", "source_type": "x"},
    "deepmath": {
        "question": "Q",
        "final_answer": "4",
        "difficulty": 5.5,
        "topic": "Algebra",
        "r1_solution_1": "aaa</think>4",
        "r1_solution_2": "bb",
        "r1_solution_3": "",
    },
    "minerva": {"question": "Q", "answer": "4"},
    "gpqa": {
        "Question": "Q",
        "Correct Answer": "right",
        "Incorrect Answer 1": "w1",
        "Incorrect Answer 2": "w2",
        "Incorrect Answer 3": "w3",
        "Record ID": "rec1",
        "High-level domain": "Physics",
    },
    "aime24": {"id": 60, "problem": "P", "solution": "work", "answer": "073", "url": "u", "year": "2024"},
    "aime25": {"problem": "P", "answer": "70", "id": "0"},
    "amc": {"id": 0, "problem": "P", "answer": 142.0, "url": "u"},
    "humaneval": {
        "task_id": "HumanEval/9",
        "prompt": "def f(x):\n",
        "canonical_solution": "    return x\n",
        "entry_point": "f",
        "test": "def check(candidate):\n    assert candidate(1) == 1",
    },
    "humanevalplus": {
        "task_id": "HumanEval/9",
        "prompt": "def f(x, y):\n",
        "canonical_solution": "    return x\n",
        "entry_point": "f",
        "test": HUB_PLUS,
        "test_list": [],
    },
    "mbpp": {
        "task_id": 12,
        "text": "Double it.",
        "code": "def f(x):\r\n  return 2*x",
        "test_list": ["assert f(1) == 2"],
        "test_setup_code": "",
        "challenge_test_list": [],
    },
    "mbppplus": {
        "task_id": 12,
        "code": "def f(x, y):\n  return x",
        "prompt": "Do it.",
        "source_file": "f",
        "test_imports": [],
        "test_list": ["assert set(f(1, 2)) == {2}"],
        "test": HUB_PLUS,
    },
    "livecodebench": LCB,
    "gsm8k": {"question": "Q", "answer": "2+2=<<2+2=4>>4\n#### 4"},
}


@pytest.fixture
def load(tmp_path):
    """Writes rows as the local copy of a known set and loads it."""

    def read(name, *rows, **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / f"{CATALOG[name].default_split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_named(name, data=tmp_path, **options)

    return read


def test_a_row_of_every_known_set_becomes_a_problem(load):
    assert set(ROWS) == set(CATALOG)
    for name, row in ROWS.items():
        [problem] = load(name, row)
        assert problem.key
        assert question_text(problem)
        assert (problem.answer is None) != (problem.tests is None)
        if problem.tests and problem.tests["kind"] != "evalplus":
            parse_tests(problem.tests)


def test_every_source_is_in_the_catalog_and_every_hub_name_finds_its_source():
    assert {entry.source for entry in CATALOG.values()} == set(SOURCES)
    assert source_of("math-ai/minervamath") == "minerva"
    assert source_of("openai/gsm8k") == "gsm8k"
    assert source_of("nobody/knows") is None


@pytest.mark.parametrize("name", sorted(set(CATALOG) - {"minerva", "amc", "aime25", "aime24"}), ids=str)
def test_all_but_the_plainest_are_recognised_by_their_columns(tmp_path, name):
    (tmp_path / "any.jsonl").write_text(json.dumps(ROWS[name]) + "\n")
    [problem] = load_problems(path=str(tmp_path / "any.jsonl"))
    assert problem.key.split(":")[0].split("/")[0] in (CATALOG[name].source, "HumanEval", "Mbpp", "code", "openr1", "math")


@pytest.mark.parametrize(
    ("name", "answer", "difficulty"),
    [
        ("math", "\\frac{3}{2}", 2),
        ("math500", "\\frac{3}{2}", 2),
        ("math_curriculum", "4", 3),
        ("aime24", "73", None),
        ("amc", "142", None),
        ("deepmath", "4", 5.5),
        ("minerva", "4", None),
        ("openr1", "4", 2),
    ],
)
def test_answers_and_difficulties(load, name, answer, difficulty):
    [problem] = load(name, ROWS[name])
    assert (problem.answer, problem.difficulty) == (answer, difficulty)


def test_several_traces_are_kept_and_the_shortest_is_taken(load):
    [problem] = load("openr1", ROWS["openr1"])
    assert (problem.trace, problem.traces) == ("c", ("a b", "c"))
    [problem] = load("deepmath", ROWS["deepmath"])
    assert (problem.trace, problem.traces) == ("bb", ("aaa", "bb"))


def test_the_options_of_gpqa_are_in_an_order_that_the_key_decides(load):
    rows = [{**ROWS["gpqa"], "Record ID": f"rec{i}", "Question": f"Q{i}"} for i in range(40)]
    problems = load("gpqa", *rows)
    assert problems == load("gpqa", *rows)
    assert {p.answer for p in problems} == set("ABCD")
    for problem in problems:
        assert f"{problem.answer}) right" in question_text(problem)
        assert "Q" not in problem.key


def test_fenced_solutions_and_tests_as_input_and_output(load):
    [problem] = load("verifiable_coding", ROWS["verifiable_coding"])
    assert problem.tests == {"kind": "stdio", "cases": [{"stdin": "1", "stdout": "2"}], "solution": "print(2)"}


def test_function_calls_that_cannot_be_read_are_left_out(load):
    row = ROWS["verifiable_coding"]
    calls = [{"fn_name": "f", "input": cell, "output": "2", "type": "function_call"} for cell in ("[1, 2]", "1, 2")]
    rows = [
        {**row, "problem_statement": str(i), "problem_id": str(i), "verification_info": {"test_cases": [call]}}
        for i, call in enumerate(calls)
    ]
    [problem] = load("verifiable_coding", *rows)
    assert problem.tests["cases"] == [{"args": [1, 2], "expected": 2}]


def test_livecodebench_methods_are_called_with_their_arguments(load):
    row = {
        **LCB,
        "starter_code": "class Solution:\n    def add(self, xs: List[int], y: int) -> List[int]:\n        ",
        "metadata": '{"func_name": "add"}',
        "public_test_cases": json.dumps([METHOD]),
        "private_test_cases": packed([METHOD]),
    }
    [problem] = load("livecodebench", row)
    assert problem.tests["cases"] == [{"call": "Solution().add([1, 2], 3)", "expected": [4, 5]}] * 2
    assert question_text(problem).startswith("Add them.\n\n```python\nclass Solution:")
    assert problem.difficulty == 2.0


def test_a_pickle_that_holds_more_than_text_is_refused(load):
    class Bad:
        def __reduce__(self):
            return (print, ("run",))

    bad = base64.b64encode(zlib.compress(pickle.dumps(Bad()))).decode()
    with pytest.raises(DataError, match=r"row 1 \(counted from 1\) of .*print in a place where only text belongs"):
        load("livecodebench", {**LCB, "private_test_cases": bad})


def test_mbpp_is_one_file_with_four_splits(tmp_path):
    (tmp_path / "mbpp").mkdir()
    rows = [{**ROWS["mbpp"], "task_id": i} for i in (3, 12, 512, 602, 603)]
    (tmp_path / "mbpp" / "mbpp.jsonl").write_text("".join(json.dumps({**r, "text": str(r["task_id"])}) + "\n" for r in rows))
    keys = {s: [p.key for p in load_named("mbpp", split=s, data=tmp_path)] for s in ("test", "train", "all")}
    assert keys["test"] == ["Mbpp/12"]
    assert keys["train"] == ["Mbpp/602", "Mbpp/603"]
    assert len(keys["all"]) == 5


def test_unknown_names_and_splits():
    with pytest.raises(ConfigError, match=r"data set is 'gsm8'.*Did you mean 'gsm8k'"):
        load_named("gsm8")
    with pytest.raises(ConfigError, match=r"split is 'validation'. Expected a split of gsm8k: train, test, or all"):
        load_named("gsm8k", split="validation")


def test_a_folder_without_the_set_names_what_belongs_there(tmp_path):
    with pytest.raises(
        DataError, match=r"a folder with the data sets by name, gsm8k/ among them. Put a copy of openai/gsm8k there"
    ):
        load_named("gsm8k", data=tmp_path)


# --- duplicates and overlap


def test_a_problem_that_stands_there_twice_is_refused_dropped_or_kept(load):
    row, other = ROWS["gsm8k"], {"question": "R", "answer": "1\n#### 1"}
    with pytest.raises(
        DataError,
        match=r"1 of 3 problems of .* stand there twice, the first of them, in rows 1 and 3 \(counted from 1\), is 'gsm8k:Q'.*dataset_duplicates to drop",
    ):
        load("gsm8k", row, other, row)
    assert [p.key for p in load("gsm8k", row, other, row, duplicates="drop")] == ["gsm8k:Q", "gsm8k:R"]
    assert [p.key for p in load("gsm8k", row, other, row, duplicates="keep")] == ["gsm8k:Q", "gsm8k:R", "gsm8k:Q#2"]
    with pytest.raises(ConfigError, match=r"dataset_duplicates is 'dropp'.*Did you mean 'drop'"):
        load("gsm8k", row, duplicates="dropp")


@pytest.mark.parametrize("duplicates", ["error", "drop"])
def test_two_problems_under_one_key_are_never_one(load, duplicates):
    rows = [{**ROWS["humaneval"], "prompt": f"def f(x):\n    '''{i}'''\n"} for i in range(2)]
    with pytest.raises(
        DataError, match=r"key of two different problems of .*, rows 1 and 2 \(counted from 1\), is 'HumanEval/9'"
    ):
        load("humaneval", *rows, duplicates=duplicates)


# --- bad rows


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "math",
            {"problem": None},
            r"row 1 \(counted from 1\) of .*: column 'problem' is None. Expected text. Fill the cell or drop the row",
        ),
        ("mbpp", {"test_list": []}, r"column 'test_list' is \[\]. Expected at least one assertion"),
        (
            "verifiable_coding",
            {"verification_info": {"test_cases": []}},
            "column 'verification_info'.*Expected at least one test case",
        ),
        (
            "verifiable_coding",
            {"verification_info": {"language": "python"}},
            "column 'verification_info'.*an object with test_cases. KeyError",
        ),
        (
            "livecodebench",
            {"private_test_cases": "???"},
            "column 'private_test_cases' is '[?]+'. Expected tests as JSON, or as LiveCodeBench",
        ),
        ("livecodebench", {"public_test_cases": "[]", "private_test_cases": "[]"}, "Expected at least one test"),
        ("aime24", {"answer": "one"}, "answer is 'one'. Expected a whole number"),
        ("gpqa", {"Correct Answer": None}, "column 'Correct Answer' is None"),
    ],
)
def test_bad_rows_are_sentences(load, name, change, message):
    with pytest.raises(DataError, match=message):
        load(name, {**ROWS[name], **change})


def test_a_column_of_two_types_names_the_rows(tmp_path):
    rows = [{"prompt": "a", "answer": None}, {"prompt": "b", "answer": "x"}, {"prompt": "c", "answer": 4}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        DataError,
        match=r"column 'answer' of .*a.jsonl is 'text in row 2 \(counted from 1\), a number in row 3 \(counted from 1\)'. Expected one type.*as text",
    ):
        load_problems(path=str(tmp_path / "a.jsonl"))


def test_empty_tests_are_refused_wherever_they_come_from(tmp_path):
    row = {"prompt": "write f", "tests": {"kind": "function", "entry": "f", "cases": []}}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"row 1 .*of .*cases of the tests is \[\]. Expected at least one test"):
        load_problems(path=str(tmp_path / "a.jsonl"))


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n{"prompt": \n')
    with pytest.raises(DataError, match=r"a.jsonl'. Expected readable json. ValueError: line 2: "):
        load_problems(path=str(tmp_path / "a.jsonl"))


def test_copies_of_hub_folders_and_saved_sets_load(tmp_path):
    from datasets import Dataset, DatasetDict

    table = Dataset.from_list([ROWS["gsm8k"]])
    (tmp_path / "hub" / "data").mkdir(parents=True)
    table.to_parquet(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet")
    table.save_to_disk(tmp_path / "saved")
    DatasetDict({"train": table}).save_to_disk(tmp_path / "splits")
    for folder in ("hub", "saved", "splits"):
        [problem] = load_problems(path=str(tmp_path / folder))
        assert problem.answer == "4"
