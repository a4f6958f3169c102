r"""The final answer of a completion: the last explicit statement of it after the last `</think>`.

Explicit statements are `\boxed{…}` (braces matched), `<answer>…</answer>`, `#### …` and, when none of these is there, an
announcement: "the answer is …", "Final Answer: …", "答案是…", a heading "Answer" or a table cell of that name with the
answer below or beside it. When several stand in the text the last complete one counts: what a model says last is what it
stands by, and a model that lists candidates gets judged on one of them. Nothing is guessed: a completion that merely contains a
number has no answer. Mark-up around answers and announcements does not matter (`markup.py`).

Every scan is linear in the text, so that hostile completions cost no more than honest ones of the same size.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from rlvr_graders.markup import is_list_item, is_rule, plain_inline, plain_lines, plain_signs, plain_text, undecorated, unmarked

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


_BRACES = re.compile(r"\\+(?:boxed|fbox|framebox)\s*\{|\\boxed\s+[^\s{$]+|\\.|[{}]", re.DOTALL)
_ANSWER_OPEN = re.compile(r"<(?:final_?)?answer>", re.IGNORECASE)
_ANSWER_CLOSE = re.compile(r"</(?:final_?)?answer>", re.IGNORECASE)
_THINK = re.compile(r"<(/?)think>", re.IGNORECASE)
_HASHES = re.compile(r"####[ \t]*([^\n]*)")
_HINT = re.compile(r"answer|(?<![a-z])ans(?![a-z])|solution|result|答案", re.IGNORECASE)
_TO = r"(?:\s(?:to|for|of)\s(?:the|this|that|your|our)\s(?:\w{1,20}\s){0,2}(?:question|problem|exercise|task|equation|puzzle))?"
_IS = r"\s(?:is|are|would\sbe|equals)(?![A-Za-z])(?:\s(?:equal\sto|therefore|thus|exactly|simply)(?![A-Za-z]))?"
_PHRASE = re.compile(
    r"(?:(?:(?<![A-Za-z])(?:the|my|our|final|correct|so|thus|hence|therefore)\s(?:final\s|correct\s)?(?:answer|solution|result)s?"
    rf"|(?<!\w\s)(?<!\w)answers?){_TO}{_IS}"
    rf"|(?<![A-Za-z])(?:answers?|ans|final\s(?:result|solution)){_TO}(?:\s?\((?:final|s)\))?[\"”']?\s?(?:[:|]|==?>?|[-–—]+>|[→⇒⟹➜]|[–—](?=\s))"
    r"|答案\s?(?:应该|应当|应)?(?:[是为](?![否不])|等于|(?=\s?[:=])))"
    r"\s?(?:[:→⇒⟹➜]|==?>?(?!=))?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:the |my |our )?(final |correct )?(?:answers?|ans\.?)(?: is)? ?([:.=]?)", re.IGNORECASE)
_WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal|up)?|math(?:bf|rm|it|sf|tt)|emph|underline|mbox|hbox|boldsymbol|bm)\s?"
    r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]{0,200}\}){0,200}\}){0,400})\}"
)
_FORMULA_LINE = re.compile(r"^\s*(?:\$\$?|\\\[|\\\()([^$]*)(?:\$\$?|\\\]|\\\))\s*$")
_MATH_BLOCKS = {"$$": "$$", "\\[": "\\]", "```": "```", "\\begin{equation}": "\\end{equation}"}
_SHORT_WORD = re.compile(r"(?<!\\)\b[^\W\d_]{2,}")
MAX_LINES_BELOW = 20
"""Lines that an announcement looks through for what it announces."""

_REASON = re.compile(r"[,;]?\s(?:because|since|so|which|where|when)\b|,\s(?:and\s)?not\b|[,;]?\s?(?:因为|由于)", re.IGNORECASE)
_NUMBER_LINE = re.compile(r"(?:\*\*)?[-+−]?\s?(?:\\?[$€£₹(]|\\frac|\\text|\\sqrt|\.?[0-9])")
_NUMBERED = re.compile(r"[0-9]+(?:\.[0-9]+)*[.):]\s+\S")
_SENTENCE_END = re.compile(r"[.!?](?=\s+[A-Z\"'(\\]|\s*$)|。")


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
    if "box" not in text:
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
        line = unmarked(match.group(1))
        if (
            line
            and not _LABEL.fullmatch(line)
            and (not text[match.end() : match.end() + 1_000].strip() or (_NUMBER_LINE.match(line) and not _NUMBERED.match(line)))
        ):
            found = (line, match.end())
    return found


def _announced(text: str) -> str | None:
    """What the last announcement in a text announces, without mark-up; None where nothing does."""
    if not _HINT.search(text):
        return None
    lines = plain_text(text).split("\n")
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if not _HINT.search(line):
            continue
        found = _in_table(lines, number) if line.lstrip().startswith("|") else None
        found = found or _in_line(lines, number)
        if found:
            return found
    return None


def _in_line(lines: list[str], number: int) -> str | None:
    """The statement of a line, or of the lines below where the line only announces it."""
    line = _plain_line(lines[number])
    label = _LABEL.fullmatch(line)
    stated, start = None, 0
    while not label and (phrase := _PHRASE.search(line, start)):
        while inner := _PHRASE.match(line, _skip_space(line, phrase.end())):  # `Final Answer: The final answer is 73`
            phrase = inner
        rest = line[phrase.end() :]
        end = _SENTENCE_END.search(rest)
        said = rest[: end.start()] if end else rest
        stated = _tidy(_without_reason(said)) or stated
        start = phrase.end() + (end.end() if end else len(rest))
        if not said.strip(" *_.:"):
            label = phrase
    if stated or not label:
        return stated
    # A heading or a line that ends in a colon announces what stands below it.
    plain = lines[number].strip() == line
    if label.re is _LABEL and plain and not label.group(1) and not label.group(2):
        return None  # the bare word
    return _below(lines, number, near=line.rstrip().endswith((":", "=", "is")))


def _skip_space(line: str, at: int) -> int:
    while at < len(line) and line[at] in " \t$":
        at += 1
    return at


def _plain_line(line: str) -> str:
    """A line of running text without mark-up, and without LaTeX's text commands around what announces an answer."""
    if "\\" in line:
        line = _WRAPPED.sub(lambda m: m[1] if _HINT.search(m[1]) else m[0], line)
        if "\\boxed" not in line:
            line = _FORMULA_LINE.sub(lambda m: m[1] if _HINT.search(m[1]) else m[0], line)
    if is_list_item(line) or line.lstrip()[:1] in ("#", ">"):
        line = plain_lines([line])
    return " ".join(undecorated(plain_inline(undecorated(line))).split())


def _below(lines: list[str], number: int, near: bool) -> str | None:
    """What stands in the next lines: a block of mathematics or code, a list, or one line, which must be short unless it is
    near."""
    end = min(len(lines), number + 1 + MAX_LINES_BELOW)
    start = next((i for i in range(number + 1, end) if lines[i].strip() and (not is_rule(lines[i]) or "`" in lines[i])), None)
    if start is None:
        return None
    first = lines[start].strip()
    opening = next((mark for mark in _MATH_BLOCKS if first.startswith(mark)), None)
    if opening and _MATH_BLOCKS[opening] not in first[len(opening) :]:
        close = next((i for i in range(start + 1, end) if _MATH_BLOCKS[opening] in lines[i]), None)
        if close is None:
            return None
        inside = [first.removeprefix(opening) if opening != "```" else "", *lines[start + 1 : close]]
        inside.append(lines[close].partition(_MATH_BLOCKS[opening])[0])
        return _tidy(plain_lines(inside))
    if is_list_item(first):
        last = next((i for i in range(start, end) if not is_list_item(lines[i])), end)
        return _tidy(unmarked(plain_lines(lines[start:last])))
    line = _plain_line(lines[start])
    if not (near and start == number + 1) and len(_SHORT_WORD.findall(line)) > 4:
        return None
    return _tidy(_sentence(line))


def _in_table(lines: list[str], number: int) -> str | None:
    """The cell beside a cell that announces the answer, or the one below it in a table of one row."""
    cells = _cells(lines[number])
    for place, cell in enumerate(cells):
        if not _LABEL.fullmatch(cell):
            continue
        ruled = number + 1 < len(lines) and set(lines[number + 1].strip()) <= set("|-: ") and "-" in lines[number + 1]
        if not ruled:
            return _tidy(cells[place + 1]) if place + 1 < len(cells) else None
        rows = [_cells(line) for line in lines[number + 2 : number + 4] if line.lstrip().startswith("|")]
        return _tidy(rows[0][place]) if len(rows) == 1 and place < len(rows[0]) else None
    return None


def _cells(row: str) -> list[str]:
    return [cell for cell in map(unmarked, row.strip().strip("|").split("|")) if cell]


def _tidy(text: str) -> str:
    """A statement without what mark-up left over at its ends: a star whose partner stands lines away, an outer bracket."""
    text = unmarked(text)
    for _ in range(4):
        before = text
        text = text.strip().strip("`").removeprefix("**").removeprefix("__").removesuffix("**").removesuffix("__")
        text = (
            text.removesuffix("\\]").removesuffix("\\)")
            if text.count("\\]") + text.count("\\)") > text.count("\\[") + text.count("\\(")
            else text
        )
        text = text.rstrip(" ,;").removesuffix("|").rstrip() if not text.startswith("|") else text.rstrip(" ,;")
        if text[-1:] in ")]}" and sum(map(text.count, ")]}")) > sum(map(text.count, "([{")):
            text = text[:-1]
        text = undecorated(text)
        if text == before:
            break
    return text


def _without_reason(text: str) -> str:
    end = _REASON.search(text)
    return text[: end.start()] if end else text


def _sentence(text: str) -> str:
    end = _SENTENCE_END.search(text)
    return _without_reason(text[: end.start()] if end else text)


def extract_answer(completion: str) -> Extracted | None:
    r"""The final answer that a completion states, or None when it states none.

    Args:
        completion: The model's text, with or without think tags.

    Returns:
        The content of the marker that ends last among `\boxed{…}`, `<answer>…</answer>` and `#### …`; without any of
        them what the last announcement says. Markers inside markers are unwrapped, mark-up is taken away.
    """
    text = after_thinking(plain_signs(completion[-MAX_COMPLETION_CHARS:]))
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
    stated = _announced(text)
    return Extracted(stated, "phrase") if stated else None


def _unwrapped(content: str, marker: Marker, depth: int = 4) -> Extracted | None:
    """A box inside an answer tag, an announcement inside it, and so on: the innermost statement is the answer."""
    if depth and len(content) <= MAX_ANSWER_CHARS:
        if box := last_boxed(content):
            return _unwrapped(box[0], "boxed", depth - 1)
        if marker != "boxed" and (line := _last_hashes(content)):
            return _unwrapped(line[0], "hashes", depth - 1)
        content = _announced(content) or unmarked(content)
    return Extracted(content.strip(), marker) if content.strip() else None


_CHOICE = re.compile(r"(?:(?:option|choice)\s+)?[(\[]?([A-J])(?:[)\]]|[.:](?!\S))?", re.IGNORECASE)
_CHOICE_WITH_TEXT = re.compile(r"(?:[(\[]([A-J])[)\]]|([A-J])[).:])\s+(\S.*)", re.IGNORECASE | re.DOTALL)
_OTHER_CHOICE = re.compile(
    r"(?:^|[\s(\[,])[A-J][)\].:](?:\s|$)|^[A-J]$|\b(?:or|and)\b|^is(?:n['’]t| not| wrong| incorrect| false)\b", re.IGNORECASE
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
