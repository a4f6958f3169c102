"""Measures the sandbox: throughput, timeouts in a row, reference solutions, mutants. Each prints a table and one line of JSON.

    python benchmarks/sandbox.py throughput            # about 30 s
    python benchmarks/sandbox.py timeouts              # 1,000 endless programs, about 60 s
    python benchmarks/sandbox.py references DATA       # HumanEval, MBPP, HumanEval+, MBPP+ canonical solutions
    python benchmarks/sandbox.py mutants DATA          # mutated solutions: caught here and by EvalPlus's own comparison

DATA is a folder with `humaneval/`, `humanevalplus/`, `mbpp/` and `mbppplus/`, as published. Numbers of one run are
comparable with each other: what is compared is run in turns, and medians over the turns are given.
"""

import argparse
import ast
import copy
import functools
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rlvr_graders.code.evalplus import evalplus_tests, inputs_of, program_of
from rlvr_graders.code.grade import grade_programs
from rlvr_graders.code.tests import FunctionTests, parse_tests
from rlvr_graders.sandbox import Call, ExecRequest, bwrap, script
from rlvr_graders.sandbox.inside.zygote import PRELOADED
from rlvr_graders.sandbox.levels import make_pool
from rlvr_graders.sandbox.worker import INTERPRETER_OPTIONS, environment, interpreter

WORKERS = len(os.sched_getaffinity(0))
ADD = "def add(a, b):\n    return a + b\n"
TESTS = {"kind": "function", "entry": "add", "cases": [{"args": [a, 2], "expected": a + 2} for a in range(3)]}

_BARE = """
import json, os, sys, gc
for name in {preloaded!r}: __import__(name)
gc.collect(); gc.freeze(); gc.disable()
for line in sys.stdin:
    for _ in range(int(line)):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            space = {{}}
            exec(compile({code!r}, "<solution>", "exec"), space)
            for a in range(3): os.write(w, json.dumps(space["add"](a, 2)).encode() + b"\\n")
            os._exit(0)
        os.close(w)
        while os.read(r, 4096): pass
        os.close(r)
        os.waitpid(pid, 0)
    print("done", flush=True)
"""
_FRESH = ADD + "print([add(a, 2) for a in range(3)])"


def rate(jobs: int, action) -> float:
    start = time.perf_counter()
    action()
    return jobs / (time.perf_counter() - start)


class BareForks:
    """As many zygotes without any jail as there are processors: what a fork alone allows."""

    def __init__(self) -> None:
        code = _BARE.format(preloaded=PRELOADED, code=ADD)
        words = [interpreter(), *INTERPRETER_OPTIONS, "-c", code]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment()}
        self.processes = [subprocess.Popen(words, **pipes) for _ in range(WORKERS)]

    def run(self, jobs: int) -> None:
        for process in self.processes:
            process.stdin.write(f"{jobs // WORKERS}\n")
            process.stdin.flush()
        for process in self.processes:
            process.stdout.readline()

    def close(self) -> None:
        for process in self.processes:
            process.stdin.close()
            process.wait()
            process.stdout.close()


def fresh_bubblewrap(jobs: int, *, graded: bool) -> None:
    """A process in a container of its own for every job, as many at a time as there are processors.

    Either Python alone with the three calls in its source, or the same job as the zygotes get: read as data, answered in the
    wire format, and graded (without the inner jail).
    """
    words = [*bwrap.launcher(), interpreter(), *INTERPRETER_OPTIONS]
    tests = parse_tests(TESTS)

    def alone(_: int) -> None:
        done = subprocess.run([*words, "-c", _FRESH], capture_output=True, env=environment(), check=True)
        assert done.stdout == b"[2, 3, 4]\n"

    def same(_: int) -> None:
        assert grade_programs([ADD], [tests], one)[0].verdict == "pass"

    class One:
        def run_many(self, requests: list) -> list:
            if not requests:  # no EvalPlus problem whose expected values are still to be computed
                return []
            (request,) = requests
            code, mark = script.function_script(request)
            done = subprocess.run([*words, "-c", code], capture_output=True, env=environment(), check=True, text=True)
            told = {"stdout": done.stdout, "stderr": done.stderr, "exit_code": 0, "ended": None, "wall_s": 0.0}
            return [script.read_output(request, mark, **told)]

    one = One()
    with ThreadPoolExecutor(WORKERS) as threads:
        list(threads.map(same if graded else alone, range(jobs)))


def throughput(options: argparse.Namespace) -> dict:
    """Graded jobs per second, in turns."""
    parsed = [parse_tests(TESTS)] * options.jobs
    levels = ["landlock", "rlimits"] + (["bwrap+"] if shutil.which("bwrap") else [])
    pools = {name: make_pool(name) for name in levels}
    bare = BareForks()
    rates: dict[str, list[float]] = {}
    walls: dict[str, list[float]] = {name: [] for name in levels}

    def graded(name: str) -> None:
        grades = grade_programs([ADD] * options.jobs, parsed, pools[name])
        assert {grade.verdict for grade in grades} == {"pass"}
        walls[name].extend(grade.wall_s for grade in grades)

    for name in levels:
        graded(name)
        walls[name].clear()
    bare.run(options.jobs)
    for _ in range(options.turns):
        for name in levels:
            rates.setdefault(f"zygote {name}", []).append(rate(options.jobs, lambda name=name: graded(name)))
        rates.setdefault("bare fork", []).append(rate(options.jobs, lambda: bare.run(options.jobs)))
        if "bwrap+" in levels:
            few = max(WORKERS, options.jobs // 10)
            for graded_too, name in ((False, "fresh bubblewrap, Python alone"), (True, "fresh bubblewrap, same job")):
                action = functools.partial(fresh_bubblewrap, few, graded=graded_too)
                rates.setdefault(name, []).append(rate(few, action))
    bare.close()
    for pool in pools.values():
        pool.close()
    table = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    ranges = {name: [round(min(values), 1), round(max(values), 1)] for name, values in rates.items()}
    result = {"workers": WORKERS, "turns": options.turns, "jobs_per_s": table, "range": ranges}
    result["latency_ms"] = {
        name: {f"p{q}": round(1000 * percentile(values, q), 2) for q in (50, 99)} for name, values in walls.items()
    }
    # Ratios turn by turn: what is compared ran within the same seconds.
    for name in rates:
        if name != "zygote landlock":
            result[f"landlock / {name}"] = turnwise(rates["zygote landlock"], rates[name])
    return result


def percentile(values: list[float], q: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * q // 100)]


def turnwise(ones: list[float], others: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ones, others, strict=True)), 2)


def timeouts(options: argparse.Namespace) -> dict:
    """Many endless programs in a row: no zombie, no slowdown, no other zygote than at the start."""
    endless = ExecRequest("def f():\n    while True: pass", entry="f", calls=(Call(),), timeout_s=0.05)
    quick = ExecRequest(ADD, entry="add", calls=(Call((1, 2)),))

    def median_ms() -> float:
        return round(1000 * statistics.median(r.wall_s for r in pool.run_many([quick] * 100)), 2)

    with make_pool("landlock") as pool:
        pids = [worker.process.pid for worker in pool.zygotes.workers]
        before, start = median_ms(), time.perf_counter()
        statuses = Counter(result.status for result in pool.run_many([endless] * options.count))
        seconds, after = time.perf_counter() - start, median_ms()
        children = sum(len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) for pid in pids)
        same = pids == [worker.process.pid for worker in pool.zygotes.workers]
    return {
        "statuses": dict(statuses),
        "seconds": round(seconds, 1),
        "median_ms_before": before,
        "median_ms_after": after,
        "children_left": children,
        "zygotes_unchanged": same,
    }


def rows(path: Path) -> list[dict]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.splitlines()]


def references(options: argparse.Namespace) -> dict:
    """Canonical solutions, unchanged: what does not pass is named with its reason."""
    data, result = Path(options.data), {}
    with make_pool(options.level) as pool:
        human = rows(data / "humaneval/HumanEval.jsonl.gz")
        tests = [
            parse_tests({"kind": "check", "entry": r["entry_point"], "prompt": r["prompt"], "test": r["test"]}) for r in human
        ]
        grades = grade_programs([row["canonical_solution"] for row in human], tests, pool)
        result["HumanEval"] = told(human, grades)
        mbpp = rows(data / "mbpp/mbpp.jsonl")
        tests = [parse_tests({"kind": "assert", "asserts": row["test_list"], "setup": row["test_setup_code"]}) for row in mbpp]
        result["MBPP"] = told(mbpp, grade_programs([row["code"] for row in mbpp], tests, pool))
        for name, file in (("HumanEval+", "humanevalplus/HumanEvalPlus"), ("MBPP+", "mbppplus/MbppPlus")):
            plus = rows(data / f"{file}.jsonl.gz")
            made = evalplus_tests(plus, pool)
            usable = [(row, test) for row, test in zip(plus, made, strict=True) if isinstance(test, FunctionTests)]
            grades = grade_programs([row["canonical_solution"] for row, _ in usable], [test for _, test in usable], pool)
            result[name] = told([row for row, _ in usable], grades)
            for row, test in zip(plus, made, strict=True):
                if not isinstance(test, FunctionTests):
                    result[name]["rows"] += 1
                    result[name]["exceptions"][row["task_id"]] = str(test)
    return result


def told(of: list[dict], grades: list) -> dict:
    failed = {str(r["task_id"]): f"{g.verdict}: {g.reason}" for r, g in zip(of, grades, strict=True) if g.verdict != "pass"}
    return {"rows": len(of), "passed": sum(grade.verdict == "pass" for grade in grades), "exceptions": failed}


_SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def mutants(source: str) -> list[str]:
    """Programs that differ from the source in one operator, or in one small integer by one."""
    tree, made = ast.parse(source), []
    for at, node in enumerate(ast.walk(tree)):
        change = None
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in _SWAPS:
            change = ("op", _SWAPS[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
            change = ("ops", [_SWAPS[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) < 1000:
            change = ("value", node.value + 1)
        if change:
            other = copy.deepcopy(tree)
            setattr(list(ast.walk(other))[at], *change)
            made.append(ast.unparse(other))
    return made


_EVALPLUS_RULE = '''
import math
def _floats(x):
    return isinstance(x, float) or isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(i, float) for i in x)
def _close(a, b, atol): return abs(a - b) <= atol + 1e-7 * abs(b)
def verdict(reference, mutant, inputs, atol):
    """EvalPlus's comparison, inside one interpreter, as its evaluator does: equal, or floats within the tolerance."""
    import copy
    for arguments in inputs:
        expected = reference(*copy.deepcopy(arguments))
        try: got = mutant(*copy.deepcopy(arguments))
        except Exception: return False
        if got == expected: continue
        tolerance = atol or (1e-6 if _floats(expected) else 0)
        try:
            if tolerance == 0 or type(got) is not type(expected): return False
            pairs = zip(got, expected, strict=True) if isinstance(expected, (list, tuple)) else [(got, expected)]
            if not all(_close(a, b, tolerance) for a, b in pairs): return False
        except Exception: return False
    return True
'''


def mutation(options: argparse.Namespace) -> dict:
    """Mutated HumanEval+ and MBPP+ solutions: the share caught by our verdicts and by EvalPlus's comparison on the
    same inputs.
    """
    data, caught, disagree = Path(options.data), Counter(), []
    with make_pool("landlock") as pool:
        for file in ("humanevalplus/HumanEvalPlus", "mbppplus/MbppPlus"):
            chosen = [
                row
                for row in rows(data / f"{file}.jsonl.gz")[:: options.every]
                if len(json.dumps(row["plus_input"])) < 30_000 and row["entry_point"] != "find_zero"
            ]
            made = evalplus_tests(chosen, pool)
            programs, tests, judges = [], [], []
            for row, test in zip(chosen, made, strict=True):
                if not isinstance(test, FunctionTests) or {case.compare for case in test.cases} != {"python"}:
                    continue
                source = program_of(row, row["canonical_solution"])
                (itself,) = pool.run_many([judge(row, source, source)])
                if itself.status != "ok" or itself.results[0].value() is not True:
                    caught["rows_left_out"] += 1  # their comparison cannot judge the reference itself in time
                    continue
                for mutant in mutants(source)[: options.per_row]:
                    programs.append(mutant)
                    tests.append(FunctionTests(test.cases, test.entry, atol=test.atol, reference_s=test.reference_s))
                    judges.append(judge(row, source, mutant))
            ours = grade_programs(programs, tests, pool, timeout_s=options.timeout)
            theirs = pool.run_many(judges)
            for program, our, their in zip(programs, ours, theirs, strict=True):
                passed = their.status == "ok" and their.results[0].value() is True
                caught["mutants"] += 1
                caught["ours"] += our.verdict != "pass"
                caught["evalplus"] += not passed
                if passed != (our.verdict == "pass"):
                    disagree.append({"ours": f"{our.verdict}: {our.reason}", "evalplus": passed, "program": program[-300:]})
    total = caught["mutants"]
    return {
        **caught,
        "caught_share": round(caught["ours"] / total, 4),
        "evalplus_share": round(caught["evalplus"] / total, 4),
        "disagreements": len(disagree),
        "examples": disagree[: options.show],
    }


def judge(row: dict, source: str, mutant: str) -> ExecRequest:
    """EvalPlus's way of judging a mutant, as one more program in the sandbox."""
    pair = f"spaces = [{{}}, {{}}]\nfor space, text in zip(spaces, ({source!r}, {mutant!r})): exec(text, space)\n"
    functions = f"*(space[{row['entry_point']!r}] for space in spaces)"
    code = f"{_EVALPLUS_RULE}\n{pair}def f(inputs): return verdict({functions}, inputs, {row.get('atol') or 0})"
    return ExecRequest(code, entry="f", calls=(Call((inputs_of(row),)),), timeout_s=10.0)


def show(result: dict, indent: str = "") -> None:
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "    ")
        else:
            print(f"{indent}{name:<34} {value}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("throughput")
    one.add_argument("--jobs", type=int, default=300)
    one.add_argument("--turns", type=int, default=7)
    one.set_defaults(run=throughput)
    one = commands.add_parser("timeouts")
    one.add_argument("--count", type=int, default=1000)
    one.set_defaults(run=timeouts)
    one = commands.add_parser("references")
    one.add_argument("data")
    one.add_argument("--level", default="landlock")
    one.set_defaults(run=references)
    one = commands.add_parser("mutants")
    one.add_argument("data")
    one.add_argument("--every", type=int, default=4)
    one.add_argument("--per-row", type=int, default=6)
    one.add_argument("--timeout", type=float, default=2.0)
    one.add_argument("--show", type=int, default=5)
    one.set_defaults(run=mutation)
    options = parser.parse_args()
    result = options.run(options)
    show(result)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
