r"""What runs in the math worker's own interpreter: length-limited JSON in, length-limited JSON out, one answer per
request.

Started by file name with `python -I`, never imported by the trainer. It limits itself before it reads anything: memory,
files, open descriptors; each request arms an alarm that kills the process, so that an orphan cannot run on.

Requests: `{"op": "value", "gold", "answer"}`, `{"op": "relation", "gold": [l, r], "answer": [l, r], "positive"}`,
`{"op": "double", "text", "shown"}` (is that what a double shows of the formula?), `{"op": "readable", "text"}`.
Replies: `{"equal": true | false | null, "detail"}`.
"""

import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any

MAX_MESSAGE_BYTES = 65_536
MEMORY_BYTES = 2 << 30


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    for name, soft in (("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 64), ("RLIMIT_CORE", 0)):
        which = getattr(resource, name, None)
        if which is None:
            continue
        hard = resource.getrlimit(which)[1]
        value = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS; the deadline still holds there
            continue


def _latex(text: str) -> str:
    """Normalised text back in the LaTeX that math-verify reads."""
    for plain, latex in (("*", " \\cdot "), ("<=", " \\le "), (">=", " \\ge "), ("\x02", " \\\\ "), ("%", "\\%")):
        text = text.replace(plain, latex)
    return text


def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    if "$" in text:
        return []
    # Only the LaTeX reader: the plain one hands text to Python's eval.
    config = [LatexExtractionConfig(boxed_match_priority=-1)]
    return parse(f"${_latex(text)}$", config, fallback_mode="no_fallback", parsing_timeout=None)


def _confirmed(gold: Any, answer: Any) -> bool | None:
    """The high-precision recheck of math-verify's "equal": None when the two are no plain expressions."""
    from sympy import Expr, Rational

    if not (isinstance(gold, Expr) and isinstance(answer, Expr)):
        return None
    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    agreed = 0
    for shift in range(1 if not names else 5):
        at = {name: Rational(1009 + 16 * i + 94 * shift, 733 + 6 * i) for i, name in enumerate(names)}
        difference = (gold.doit() - answer.doit()).subs(at)
        rough, fine = abs(difference.evalf(50, maxn=200)), abs(difference.evalf(120, maxn=400))
        if not (rough.is_number and fine.is_number and fine.is_comparable):
            continue
        if fine != 0 and fine > rough * Rational(1, 10**20) and fine > Rational(1, 10**100):
            return False
        agreed += 1
    return True if agreed else None


def _by_math_verify(gold: str, answer: str) -> dict[str, Any]:
    from math_verify import verify

    golds, answers = _parsed(gold), _parsed(answer)
    if not golds or not answers:
        return {"equal": None, "detail": "math-verify cannot read the " + ("answer" if golds else "gold answer")}
    if not verify(golds, answers, timeout_seconds=None):
        return {"equal": False, "detail": "math-verify"}
    confirmed = _confirmed(golds[0], answers[0])
    if confirmed is None and getattr(golds[0], "is_number", False):
        return {"equal": False, "detail": "math-verify says equal, which could not be confirmed"}
    return {"equal": confirmed is not False, "detail": "math-verify" if confirmed is not False else "math-verify, refuted"}


def _value(gold: str, answer: str) -> dict[str, Any]:
    from rlvr_graders.math.exact_value import TooLarge
    from rlvr_graders.math.expressions import Malformed, Unsupported, parse_expression
    from rlvr_graders.math.precision import same_value

    trees = []
    for text in (gold, answer):
        try:
            trees.append(parse_expression(text))
        except Unsupported:
            return _by_math_verify(gold, answer)
        except Malformed as error:
            return {"equal": False, "detail": f"malformed: {error}"}
    try:
        equal = same_value(*trees)
    except TooLarge as error:
        return {"equal": False, "detail": f"not computed: {error}"}
    if equal is None:
        return {"equal": False, "detail": "undefined"}
    return {"equal": equal, "detail": "value"}


def _double(text: str, shown: str) -> dict[str, Any]:
    from fractions import Fraction

    from rlvr_graders.math.exact_value import TooLarge
    from rlvr_graders.math.expressions import Unsupported, parse_expression
    from rlvr_graders.math.numbers import double_shown
    from rlvr_graders.math.precision import nearest_double

    try:
        value = nearest_double(parse_expression(text))
    except (ValueError, Unsupported, TooLarge) as error:
        return {"equal": False, "detail": f"not computed: {error}"}
    return {"equal": value is not None and double_shown(value) == Fraction(shown), "detail": "as a double shows it"}


def _relation(gold: list[str], answer: list[str], positive: bool) -> dict[str, Any]:
    from rlvr_graders.math.exact_value import TooLarge
    from rlvr_graders.math.expressions import Unsupported, parse_expression
    from rlvr_graders.math.precision import same_relation
    from rlvr_graders.math.tree import Negative, Sum

    try:
        a, b = (Sum(parse_expression(left), Negative(parse_expression(right))) for left, right in (gold, answer))
        return {"equal": bool(same_relation(a, b, positive)), "detail": "relation"}
    except Unsupported:
        return _by_math_verify("=".join(gold), "=".join(answer)) if not positive else {"equal": None, "detail": "relation"}
    except (ValueError, TooLarge) as error:
        return {"equal": False, "detail": f"malformed: {error}"}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The reply to one request; an exception that an input causes is a reply too, for it says nothing about the
    worker.
    """
    try:
        if request["op"] == "value":
            return _value(request["gold"], request["answer"])
        if request["op"] == "relation":
            return _relation(request["gold"], request["answer"], request["positive"])
        if request["op"] == "double":
            return _double(request["text"], request["shown"])
        if request["op"] == "readable":
            return {"equal": bool(_parsed(request["text"])), "detail": ""}
        return {"equal": None, "detail": "unknown request", "failed": True}
    except MemoryError:
        return {"equal": None, "detail": "memory", "limit": True}
    except RecursionError:
        return {"equal": False, "detail": "nested too deeply"}
    except Exception as error:  # the libraries raise nearly anything on hostile input
        return {"equal": None, "detail": f"{type(error).__name__}: {str(error)[:200]}"}


def _read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = os.read(0, count - len(data))
        if not chunk:
            os._exit(0)  # the parent is gone
        data += chunk
    return data


def main() -> None:
    # This file stands in the package: find the package as the parent found it, installed or not.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    out = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints must not reach the channel
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import logging

    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401  (the slow import belongs to the start, not to a deadline)

    import rlvr_graders.math.precision  # noqa: F401

    _limit()
    os.write(out, struct.pack(">I", 2) + b"{}")
    while True:
        size, deadline_ms = struct.unpack(">II", _read(8))
        if size > MAX_MESSAGE_BYTES:
            os._exit(3)
        request = json.loads(_read(size))
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, deadline_ms / 1000 + 1)
        reply = json.dumps(answer(request)).encode()[:MAX_MESSAGE_BYTES]
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(out, struct.pack(">I", len(reply)) + reply)


if __name__ == "__main__":
    main()
