"""Real reference solutions, unchanged. Needs the data sets: `G2RPO_DATA` names a folder with `humaneval/`, `mbpp/` and so on."""

import gzip
import json
import os
from pathlib import Path

import pytest
from rlvr_graders.code.evalplus import evalplus_tests
from rlvr_graders.code.grade import grade_programs
from rlvr_graders.code.tests import parse_tests

DATA = os.environ.get("G2RPO_DATA")
pytestmark = pytest.mark.skipif(not DATA, reason="G2RPO_DATA is not set")


def rows(name):
    data = Path(DATA, name).read_bytes()
    return [json.loads(line) for line in (gzip.decompress(data) if name.endswith(".gz") else data).splitlines()]


def failures(pool, data, key, programs, tests):
    grades = grade_programs(programs, tests, pool)
    return {row[key]: f"{grade.verdict}: {grade.reason}" for row, grade in zip(data, grades, strict=True) if grade.score != 1}


def test_all_of_humaneval(pool):
    data = rows("humaneval/HumanEval.jsonl.gz")
    tests = [
        parse_tests({"kind": "check", "entry": row["entry_point"], "prompt": row["prompt"], "test": row["test"]}) for row in data
    ]
    assert len(data) == 164
    assert failures(pool, data, "task_id", [row["canonical_solution"] for row in data], tests) == {}


def test_all_of_mbpp(pool):
    data = rows("mbpp/mbpp.jsonl")
    tests = [parse_tests({"kind": "assert", "asserts": row["test_list"], "setup": row["test_setup_code"]}) for row in data]
    assert len(data) == 974
    assert failures(pool, data, "task_id", [row["code"] for row in data], tests) == {}


@pytest.mark.parametrize("name", ["humanevalplus/HumanEvalPlus.jsonl.gz", "mbppplus/MbppPlus.jsonl.gz"])
def test_a_part_of_evalplus(pool, name):
    """All base inputs; the whole of it is `benchmarks/sandbox.py references`."""
    data = rows(name)
    tests = evalplus_tests(data, pool, plus=False)
    assert [str(test) for test in tests if isinstance(test, Exception)] == []
    assert failures(pool, data, "task_id", [row["canonical_solution"] for row in data], tests) == {}
