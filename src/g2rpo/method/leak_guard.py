"""The leak guard: where a trace begins to give the final answer away. No prefix may reach that place.

A rollout that is handed its answer earns the reward for copying it, and teaches nothing.
"""

import re
from typing import Literal, get_args

from g2rpo.errors import ConfigError, nearest

LeakGuard = Literal["strict", "conclusion", "off"]
LEAK_GUARDS: tuple[str, ...] = get_args(LeakGuard)

_ANNOUNCED = re.compile(
    r"\\boxed|\\fbox|<answer>|####|(?:(?:therefore|so|hence|thus),?\s+)?(?:the\s+)?(?:final\s+)?answer[\s*_`|]*(?:is|[:=：])|the\s+result\s+is",
    re.IGNORECASE,
)
# A thousands separator, plain or as LaTeX writes it.
_SEPARATOR = r"(?:,|\{,\}|\\[,!;]\s?)"
_NUMBER = re.compile(rf"[-+−]?\s?\$?((?:\d{{1,3}}(?:{_SEPARATOR}\d{{3}})+|\d+)?)(?:\.(\d+))?%?")
_LETTER = re.compile(r"\(?[A-Za-z]\)?\.?")


def leak_start(trace: str, answer: str | None, guard: str = "strict") -> int:
    """Index of the first character that a prefix must not contain; `len(trace)` when there is nothing to guard.

    Args:
        trace: The reasoning trace.
        answer: The gold answer; None for problems that are checked by tests, which have no answer to leak.
        guard: `strict`: before the first place where the answer stands as a number or word of its own, wherever that is.
            `conclusion`: before its last place, or before an announcement (`the answer is`, `\\boxed`, `####`, `<answer>`),
            whichever comes first; for data whose answers are small numbers that occur everywhere. `off`: the whole trace.
    """
    if guard not in LEAK_GUARDS:
        raise ConfigError("guidance_leak_guard", guard, expected="a known leak guard", then=nearest(guard, LEAK_GUARDS))
    if guard == "off" or answer is None:
        return len(trace)
    announced = _ANNOUNCED.search(trace)
    stop = announced.start() if announced else len(trace)
    places = [m.start() for m in _pattern(answer).finditer(trace)] if _tellable(answer) else []
    if places:
        stop = min(stop, places[0] if guard == "strict" else places[-1])
    return stop


def states_answer(trace: str, answer: str | None) -> bool:
    """Whether a trace states, or announces, its gold answer somewhere; True where programs are tested and there is none."""
    return answer is None or leak_start(trace, answer, "conclusion") < len(trace)


def _tellable(answer: str) -> bool:
    """A choice letter cannot be told from the article `a`; there, only announcements count."""
    return bool(answer.strip()) and not _LETTER.fullmatch(answer.strip())


def _pattern(answer: str) -> re.Pattern[str]:
    text = answer.strip()
    number = _NUMBER.fullmatch(text)
    if number and (number[1] or number[2]):
        return _number_pattern(re.sub(r"\D", "", number[1]), (number[2] or "").rstrip("0"), negative=text[0] in "-−")
    # Anything else: the same characters with any white space between them, not inside a longer word.
    body = r"\s*".join(re.escape(c) for c in text if not c.isspace())
    left = r"(?<!\w)" if text[0].isalnum() else ""
    right = r"(?!\w)" if text[-1].isalnum() else ""
    return re.compile(left + body + right, re.IGNORECASE)


def _number_pattern(whole: str, decimals: str, negative: bool) -> re.Pattern[str]:
    """All spellings of one number: 1234, 1,234, 1{,}234 and 1234.00 are one; 12345, 1.1234 and 51234 are others."""
    groups = f"{int(whole or 0):,}".split(",")
    body = f"{_SEPARATOR}?".join(groups)
    body = "0*" if body == "0" and decimals else "0*" + body  # .5 and 0.5
    tail = rf"\.{decimals}0*" if decimals else r"(?:\.0+)?"
    # Three digits after a comma may be the end of a longer number; fewer are an item of a list.
    left = r"(?<![\d.])" + (r"(?<!\d,)" if len(groups[0]) == 3 else "")
    return re.compile(rf"{left}{'[-−] ?' if negative else ''}{body}{tail}(?!\d|\.\d|{_SEPARATOR}\d{{3}}(?!\d))")
