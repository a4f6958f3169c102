"""`rlvr-graders code`: programs and tests in, verdicts out, one JSON object per line."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlvr_graders.cli.files import check_file, numbered_lines, opened
from rlvr_graders.code.extract import program_in
from rlvr_graders.code.grade import CodeGrade, Scoring, grade_programs
from rlvr_graders.code.tests import Tests, parse_tests
from rlvr_graders.errors import DataError
from rlvr_graders.sandbox import Sandbox, open_sandbox

BATCH = 256
MAX_LIMIT = 1_000_000
"""Seconds or MiB; more is a mistake, and infinity no limit."""


def grade_code(
    input: Path,
    output: Path,
    *,
    level: str = "auto",
    scoring: Scoring = "fraction",
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    workers: int | None = None,
    allow_unsafe: bool = False,
    sandbox: Sandbox | None = None,
) -> dict[str, int]:
    """Grade the jobs of a file and write a verdict for each, in order.

    A job is `{"id", "code", "tests"}` with the tests of `rlvr_graders.code.tests`, and optionally `timeout_s` and
    `memory_mb`. `code` is a program; where it begins with a fence, a think block or another tag it is taken for an answer,
    and the program is what `extract_code` finds in it. A verdict is `{"id", "verdict", "score", "reason", "wall_s"}`; `score` is
    null when the sandbox failed (`infra_error`), and when the job's tests are invalid or none (`error`, and the reason says so).

    Args:
        input: Jobs, one JSON object per line; `-` for standard input.
        output: Where verdicts go; `-` for standard output.
        level: Sandbox level, see `open_sandbox`.
        scoring: `fraction` of the tests that hold, or `all`.
        timeout_s: Seconds per run where a job names none.
        memory_mb: MiB per run where a job names none.
        workers: Programs that run at the same time.
        allow_unsafe: Accept a machine without isolation.
        sandbox: One that is open already, used instead of opening one.

    Returns:
        How many jobs got which verdict.

    Raises:
        DataError: A line is not a JSON object with an `id`, or no UTF-8; names the line.
        RunError: The output cannot be written, or is the input.
        SandboxError: No safe sandbox works here.
    """
    check_file("--output", output, reads=[input])
    jobs = list(_jobs(input, timeout_s, memory_mb))
    box = sandbox or open_sandbox(level, workers=workers, allow_unsafe=allow_unsafe)
    counts: Counter[str] = Counter()
    try:
        with opened(output) as file:
            for start in range(0, len(jobs), BATCH):
                batch = jobs[start : start + BATCH]
                for job, grade in zip(batch, _grade(batch, box, scoring), strict=True):
                    counts[grade.verdict] += 1
                    file.write(json.dumps(_verdict(job["id"], grade)) + "\n")
    finally:
        if sandbox is None:
            box.close()
    return dict(counts)


def _verdict(name: Any, grade: CodeGrade) -> dict[str, Any]:
    return {"id": name, "verdict": grade.verdict, "score": grade.score, "reason": grade.reason, "wall_s": round(grade.wall_s, 6)}


def _grade(batch: list[dict[str, Any]], box: Sandbox, scoring: Scoring) -> list[CodeGrade]:
    """Jobs with the same limits run together; the order is that of the batch."""
    grades = {index: job["grade"] for index, job in enumerate(batch) if "grade" in job}
    for limits in dict.fromkeys(job["limits"] for job in batch if "grade" not in job):
        own = [index for index, job in enumerate(batch) if "grade" not in job and job["limits"] == limits]
        programs: list[str | None] = [batch[index]["code"] for index in own]
        tests: list[Tests] = [batch[index]["tests"] for index in own]
        timeout_s, memory_mb = limits
        done = grade_programs(programs, tests, box, scoring=scoring, timeout_s=timeout_s, memory_mb=memory_mb)
        grades.update(zip(own, done, strict=True))
    return [grades[index] for index in range(len(batch))]


def _jobs(path: Path, timeout_s: float, memory_mb: int) -> Iterator[dict[str, Any]]:
    for number, line in numbered_lines(path):
        try:
            job = json.loads(line)
            name = job["id"]
        except (ValueError, TypeError, KeyError, RecursionError) as problem:
            raise DataError(
                f"Line {number} of {path}",
                line[:200],
                expected=f"an object with id, code and tests ({problem!r})",
                then="Correct the line.",
            ) from None
        try:
            if not isinstance(job.get("code"), str):
                raise DataError("`code`", job.get("code"), expected="a string", then="Correct the job.")
            limits = (_limit(job, "timeout_s", timeout_s), int(_limit(job, "memory_mb", memory_mb)))
            yield {"id": name, "code": program_in(job["code"]), "tests": parse_tests(job.get("tests")), "limits": limits}
        except (DataError, TypeError, ValueError) as problem:
            # Without valid tests nothing can pass or fail; the other jobs of the file can still be graded.
            yield {"id": name, "grade": CodeGrade(None, f"not a job: {problem}"[:400], "error")}


def _limit(job: dict[str, Any], name: str, default: float) -> float:
    value = job.get(name, default)
    if type(value) not in (int, float) or not 0 < value <= MAX_LIMIT:  # NaN is not, either
        raise DataError(f"`{name}`", value, expected=f"a number above 0 and up to {MAX_LIMIT:,}", then="Correct the job.")
    return float(value)
