r"""The final answer of a completion: the last explicit statement of it after the last `</think>`.

Explicit statements are `\boxed{…}` (braces matched), `<answer>…</answer>`, `#### …` and, when none of these is there, a
phrase such as "the answer is …". When several stand in the text the last complete one counts: what a model says last is
what it stands by, and a model that lists candidates gets judged on one of them. Nothing is guessed: a completion that
merely contains a number has no answer.

Every scan is linear in the text, so that hostile completions cost no more than honest ones of the same size.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

MAX_COMPLETION_CHARS = 200_000
"""Only the end of a longer completion is searched."""

MAX_ANSWER_CHARS = 2_000
"""A longer answer is kept as found; the grader refuses to parse it."""

Marker = Literal["boxed", "answer_tag", "hashes", "phrase", "whole"]


@dataclass(frozen=True)
class Extracted:
    """A candidate answer and what announced it."""

    text: str
    marker: Marker


_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\boxed\s+[^\s{$]+|\\.|[{}]", re.DOTALL)
_ANSWER_OPEN = re.compile(r"<answer>", re.IGNORECASE)
_ANSWER_CLOSE = re.compile(r"</answer>", re.IGNORECASE)
_THINK = re.compile(r"<(/?)think>", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_PHRASE = re.compile(
    r"(?:\bthe\s+(?:final\s+|correct\s+)?(?:answer|solution|result)\s+is\b(?:\s+(?:equal\s+to|therefore|thus)\b)?"
    r"|\banswer\s{0,9}(?:\*\*)?\s{0,9}[:=])"
    r"(?:\*\*)?\s*[:=]?[ \t]*(?:\*\*)?\n?([^\n]*)",
    re.IGNORECASE,
)
_REASON = re.compile(r"[,;]?\s(?:because|since|so|which|where|when)\b|,\s(?:and\s)?not\b", re.IGNORECASE)
_NUMBER_LINE = re.compile(r"(?:\*\*)?[-+−]?\s?(?:\\?[$€£₹(]|\\frac|\\text|\\sqrt|\.?[0-9])")
_NUMBERED = re.compile(r"[0-9]+(?:\.[0-9]+)*[.):]\s+\S")
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z\"'(]|\s*$)")


def completion_text(completion: Any) -> str:
    """The text of one completion as TRL hands it to rewards: a string, or messages of which the last assistant one
    counts.

    A message whose content is a list of parts contributes its text parts; tool messages and empty contents give "".
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        completion = [completion]
    for message in reversed(completion or []):
        if message.get("role", "assistant") == "assistant":
            content = message.get("content") or ""
            if isinstance(content, list):
                content = "".join(part.get("text") or "" for part in content if isinstance(part, dict))
            return str(content)
    return ""


def after_thinking(completion: str) -> str | None:
    """What follows the last `</think>`; the whole text when there are no think tags; None when thinking never ended."""
    last = None
    for last in _THINK.finditer(completion):  # noqa: B007  (the last match is what we want)
        pass
    if last is None:
        return completion
    return completion[last.end() :] if last.group(1) else None


def last_boxed(text: str) -> tuple[str, int] | None:
    r"""Content and end position of the last complete `\boxed{…}`, in one pass; an unfinished one does not count."""
    if "\\boxed" not in text and "\\fbox" not in text:
        return None
    found = None
    stack: list[int] = []  # where each open brace's content starts; negative for braces that are no box
    for token in _BRACES.finditer(text):
        what = token.group()
        if what == "{":
            stack.append(-1)
        elif what == "}":
            start = stack.pop() if stack else -1
            if start >= 0 and (found is None or text[start : token.start()].strip()):  # `\\boxed{42}\\boxed{}` says 42
                found = (text[start : token.start()], token.end())
        elif what.endswith("{") and len(what) > 2:
            stack.append(token.end())
        elif len(what) > 2:  # `\boxed 5`, which older solutions write
            found = (what[len("\\boxed") :].strip(), token.end())
    return found


def last_answer_tag(text: str) -> tuple[str, int] | None:
    """Content and end position of the last complete `<answer>…</answer>`."""
    found, start = None, None
    for match in sorted([*_ANSWER_OPEN.finditer(text), *_ANSWER_CLOSE.finditer(text)], key=lambda m: m.start()):
        if match.group().startswith("</"):
            if start is not None:
                found, start = (text[start : match.start()], match.end()), None
        else:
            start = match.end()
    return found


def _last_hashes(text: str) -> tuple[str, int] | None:
    """The last `#### …` that is an answer: one on the last line, or one with a number, for headings look the same."""
    found = None
    for match in _HASHES.finditer(text):
        line = match.group(1).strip()
        if line and (
            not text[match.end() : match.end() + 1_000].strip() or (_NUMBER_LINE.match(line) and not _NUMBERED.match(line))
        ):
            found = (line, match.end())
    return found


def _last_match(pattern: re.Pattern[str], text: str) -> tuple[str, int] | None:
    found = None
    for match in pattern.finditer(text):
        if match.group(1).strip():
            found = (match.group(1), match.end())
    return found


def _sentence(text: str) -> str:
    for stop in (_SENTENCE_END, _REASON):
        if end := stop.search(text):
            text = text[: end.start()]
    return text


def extract_answer(completion: str) -> Extracted | None:
    r"""The final answer that a completion states, or None when it states none.

    Args:
        completion: The model's text, with or without think tags.

    Returns:
        The content of the marker that ends last among `\boxed{…}`, `<answer>…</answer>` and `#### …`; without any of
        them the rest of the sentence after the last "the answer is". Markers inside markers are unwrapped.
    """
    text = after_thinking(completion[-MAX_COMPLETION_CHARS:])
    if text is None:
        return None
    found: list[tuple[int, str, Marker]] = []
    if box := last_boxed(text):
        found.append((box[1], box[0], "boxed"))
    if "answer>" in text.lower() and (tag := last_answer_tag(text)):
        found.append((tag[1], tag[0], "answer_tag"))
    if "####" in text and (line := _last_hashes(text)):
        found.append((line[1], line[0], "hashes"))
    if found:
        _, content, marker = max(found)
        return _unwrapped(content, marker)
    if phrase := _last_match(_PHRASE, text):
        return Extracted(_sentence(phrase[0]).strip(), "phrase")
    return None


def _unwrapped(content: str, marker: Marker, depth: int = 4) -> Extracted | None:
    """A box inside an answer tag, a phrase inside it, and so on: the innermost statement is the answer."""
    content = content.strip()
    if not content:
        return None
    if depth and len(content) <= MAX_ANSWER_CHARS:
        if box := last_boxed(content):
            return _unwrapped(box[0], "boxed", depth - 1)
        if marker != "boxed" and (line := _last_hashes(content)):
            return _unwrapped(line[0], "hashes", depth - 1)
        if marker != "boxed" and (phrase := _last_match(_PHRASE, content)):
            return Extracted(_sentence(phrase[0]).strip() or content, marker)
    return Extracted(content, marker)


_CHOICE = re.compile(r"(?:(?:option|choice)\s+)?[(\[]?([A-J])(?:[)\]]|[.:](?!\S))?", re.IGNORECASE)
_CHOICE_WITH_TEXT = re.compile(r"(?:[(\[]([A-J])[)\]]|([A-J])[).:])\s+(\S.*)", re.IGNORECASE | re.DOTALL)
_OTHER_CHOICE = re.compile(
    r"(?:^|[\s(\[,])[A-J][)\].:](?:\s|$)|^[A-J]$|\b(?:or|and)\b|^is(?:n['’]t| not| wrong| incorrect| false)\b",
    re.IGNORECASE,
)


def choice_text(answer: str) -> str | None:
    """What stands behind the letter of a multiple choice answer: `12` of `(B) 12`."""
    full = _CHOICE_WITH_TEXT.fullmatch(answer.strip())
    return full.group(3) if full and choice_letter(answer) else None


def choice_letter(answer: str) -> str | None:
    """The upper-case letter of a multiple choice answer such as `B`, `(b)`, `B.`, `option B` or `B) 42 apples`.

    None when the text is not one choice, which includes answers that name two of them.
    """
    answer = answer.strip()
    if bare := _CHOICE.fullmatch(answer):
        return bare.group(1).upper()
    if (full := _CHOICE_WITH_TEXT.fullmatch(answer)) and not _OTHER_CHOICE.search(full.group(3)):
        return (full.group(1) or full.group(2)).upper()
    return None
