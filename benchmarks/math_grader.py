r"""Our math grader and math-verify alone, on labelled answer pairs and on GSM8K: wrong verdicts and time per verdict.

    python benchmarks/math_grader.py [--pairs graders/tests/data/math_pairs.jsonl] [--gsm8k DIR] [--limit 500] [--list]

math-verify is tried three ways and judged by its best: as TRL's `accuracy_reward` calls it (gold as it stands, LaTeX
only for the completion), and with gold and completion both boxed or both plain, under its defaults. Its time limits
are on, as shipped. An exception of it counts as a wrong verdict, not as a crash of the benchmark.
"""

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rlvr_graders.math import grade_math, worker


def ours(gold: str, answer: str) -> bool | None:
    score = grade_math(gold, f"So the result is \\boxed{{{answer}}}.").score
    return None if score is None else score == 1


def _math_verify(gold: str, completion: str, trl: bool = False) -> bool | None:
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse, verify
    from math_verify.errors import TimeoutException

    try:
        golds = parse(gold)
        if trl:
            config = LatexExtractionConfig(
                normalization_config=NormalizationConfig(units=True), boxed_match_priority=0, try_extract_without_anchor=False
            )
            answers = parse(completion, extraction_config=[config], extraction_mode="first_match")
        else:
            answers = parse(completion)
        return bool(verify(golds, answers))
    except (Exception, TimeoutException):
        return None


ALONE: dict[str, Callable[[str, str], bool | None]] = {
    "as in TRL": lambda gold, answer: _math_verify(gold, f"So the result is \\boxed{{{answer}}}.", trl=True),
    "both boxed": lambda gold, answer: _math_verify(f"\\boxed{{{gold}}}", f"So the result is \\boxed{{{answer}}}."),
    "both plain": lambda gold, answer: _math_verify(gold, answer),
}


def measure(name: str, grade: Callable[[str, str], bool | None], pairs: list[dict], show: bool) -> int:
    """Prints one line; returns the number of wrong verdicts."""
    wrong: list[tuple[dict, bool | None]] = []
    slowest = 0.0
    start = time.perf_counter()
    for pair in pairs:
        before = time.perf_counter()
        verdict = grade(pair["gold"], pair["answer"])
        slowest = max(slowest, time.perf_counter() - before)
        if verdict is not pair["equal"]:
            wrong.append((pair, verdict))
    per_verdict_us = (time.perf_counter() - start) / len(pairs) * 1e6
    false_equal = sum(verdict is True for _, verdict in wrong)
    print(
        f"{name:28} wrong {len(wrong):4} of {len(pairs)} (false equal {false_equal}, false different "
        f"{len(wrong) - false_equal})  {per_verdict_us:9.1f} us/verdict, slowest {slowest * 1e3:.0f} ms"
    )
    if show:
        print("    by kind:", dict(Counter(pair["kind"] for pair, _ in wrong)))
        for pair, verdict in wrong:
            print("   ", pair["gold"], "|", pair["answer"], "| label", pair["equal"], "| said", verdict)
    return len(wrong)


def gsm8k_pairs(folder: Path, limit: int | None) -> tuple[list[dict], list[dict]]:
    """Gold answers with the reference solution's own answer, and each gold with its neighbour's answer."""
    rows = [json.loads(line) for name in ("test", "train") for line in (folder / f"{name}.jsonl").open()]
    golds = [row["answer"].split("####")[-1].strip() for row in rows][:limit]
    same = [{"kind": "gsm8k", "gold": gold, "answer": gold, "equal": True} for gold in golds]
    moved = [
        {"kind": "gsm8k", "gold": gold, "answer": other, "equal": gold.replace(",", "") == other.replace(",", "")}
        for gold, other in zip(golds, [*golds[1:], golds[0]], strict=True)
    ]
    return same, moved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[Path("graders/tests/data/math_pairs.jsonl")])
    parser.add_argument("--gsm8k", type=Path, help="folder with train.jsonl and test.jsonl")
    parser.add_argument("--limit", type=int, help="GSM8K answers at most")
    parser.add_argument("--list", action="store_true", help="print every wrong verdict")
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    worker.warm_up()
    for path in args.pairs:
        pairs = [json.loads(line) for line in path.open()]
        print(f"\n{path.name}: {len(pairs)} pairs, {sum(pair['equal'] for pair in pairs)} equal")
        mine = measure("g2rpo", ours, pairs, args.list)
        others = [measure(f"math-verify, {name}", grade, pairs, args.list) for name, grade in ALONE.items()]
        print(f"wrong verdicts, best of math-verify to ours: {min(others)} to {mine}")
    if args.gsm8k:
        for title, pairs in zip(("GSM8K, right", "GSM8K, shifted"), gsm8k_pairs(args.gsm8k, args.limit), strict=True):
            print(f"\n{title}: {len(pairs)} pairs")
            measure("g2rpo", ours, pairs, False)
            measure("math-verify, both boxed", ALONE["both boxed"], pairs, False)


if __name__ == "__main__":
    main()
