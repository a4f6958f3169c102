"""A trace taken apart into its reasoning steps, wherever its writer put their ends. The steps joined are the trace again."""

import ast
import re
import warnings

_ITEM = re.compile(r"^[ \t]*(?:(?:\*\*)?(?:step[ \t]+)?(\d{1,3})[.):]|[-*•][ \t])", re.MULTILINE | re.IGNORECASE)
_BLANK = re.compile(r"\n[ \t]*\n\s*")
_LINE = re.compile(r"\n\s*")
_PROGRAM = re.compile(r"^[ \t]*(?:def |class |import |from \w|for .*:|while .*:|if .*:|with .*:|@)", re.MULTILINE)
# The end of a sentence is a mark, white space, and the beginning of another; not the point of "3.5", "e.g. 4" or "Mr. X".
_SENTENCE = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bMr)(?<!\bMrs)(?<!\bDr)(?<!\bvs)(?<!\bNo)(?<!\b[A-Z])[.!?][\"')\]$*]*\s+(?=[\"'(\[$\\*]*[A-Z0-9])"
)
FEW = 3
"""A trace with fewer paragraphs has its blank line for layout: its lines are the steps."""


def step_ends(trace: str) -> list[int]:
    """Character positions, rising, at which steps end; white space between two steps belongs to the first. The last is the end.

    In this order, what the trace has decides: the statements of a program; paragraphs (three or more) and numbered or bulleted
    items; lines; sentences; or nothing, and the trace is one step.
    """
    length = len(trace)
    ends = _statements(trace) or _paragraphs_and_items(trace) or _inside(_LINE, trace) or _inside(_SENTENCE, trace)
    return [*(end for end in ends if end < length), length] if length else []


def steps(trace: str) -> list[str]:
    """The steps themselves, each with the white space that follows it."""
    ends = step_ends(trace)
    return [trace[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _inside(pattern: re.Pattern[str], trace: str) -> list[int]:
    """Ends of the pattern's matches, where text stands on both sides."""
    first, last = len(trace) - len(trace.lstrip()), len(trace.rstrip())
    return [found.end() for found in pattern.finditer(trace) if first < found.start() and found.end() < last]


def _paragraphs_and_items(trace: str) -> list[int]:
    paragraphs = _inside(_BLANK, trace)
    starts = [found.start() for found in _items(trace) if trace[: found.start()].strip()]
    if len(paragraphs) + 1 < FEW and not starts:
        return []
    return sorted({*paragraphs, *starts})


def _items(trace: str) -> list[re.Match[str]]:
    """List items: at least two bullets, or numbers that count up. A line that begins with any other number is arithmetic."""
    found = list(_ITEM.finditer(trace))
    numbered = [item for item in found if item[1]]
    bullets = [item for item in found if not item[1]]
    counted = numbered if [int(item[1]) for item in numbered] == list(range(1, len(numbered) + 1)) and len(numbered) > 1 else []
    return counted or (bullets if len(bullets) > 1 else [])


def _statements(trace: str) -> list[int]:
    """Where statements end, if the trace is a Python program; the head of a block goes with the first statement inside."""
    if not _PROGRAM.search(trace):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's string is not our user's business
            tree = ast.parse(trace)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    lines = [0]
    for line in trace.splitlines(keepends=True):
        lines.append(lines[-1] + len(line))
    simple = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not getattr(node, "body", None)]
    ends = sorted({lines[min(node.end_lineno or node.lineno, len(lines) - 1)] for node in simple})
    # Blank lines and comments after a statement belong to it, as white space does elsewhere.
    return [end + len(gap[0]) if (gap := re.match(r"\s*\n", trace[end:])) else end for end in ends]
