r"""Document mark-up around an answer, taken away: Markdown, HTML, emoji, full-width signs.

A model writes `**73**`, `<strong>73</strong>`, `✅ 73` or `７３` and means 73. Only what cannot be part of a formula goes: a
star between operands is a product, a bar is an absolute value, `- 5` is negative unless it stands on a line of its own. Text
that is struck through was withdrawn and goes with its marks. LaTeX is left to `math/latex.py`.

Every pattern is linear in the text or bounded, so that hostile completions cost no more than honest ones.
"""

import re
import unicodedata
from html import unescape

_SUSPECT = re.compile(r"[^\x00-\x7f]|[*_`~<&#\"'\n]|[=-]>")
_FOLDED = re.compile("[\uff01-\uff5e\U0001d400-\U0001d7ff]")  # full-width forms, mathematical letters and digits
_INVISIBLE = {ord(c): None for c in "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f\u20e3\u00ad"}
_SIGNS = _INVISIBLE | {ord("\u3000"): " ", ord("。"): ".", ord("、"): ",", ord("\u2028"): "\n", ord("\r"): "\n"}

_BLOCK = "p div h[1-6] br li ul ol tr td th table thead tbody details summary blockquote pre center section article"
_INLINE = "hr strong em b i u a code mark span small big font tt kbd samp var ins cite math latex"
_ATTRIBUTES = r"(?:\s+[\w:-]{1,40}\s{0,3}=\s{0,3}(?:\"[^\"<>]{0,200}\"|'[^'<>]{0,200}'|[^\s\"'<>]{1,100})){0,8}\s{0,3}"
_TAG = re.compile(rf"<(/?)({'|'.join(f'{_BLOCK} {_INLINE}'.split())}){_ATTRIBUTES}/?>", re.IGNORECASE)
_CLOSED = re.compile(r"</([a-z])>", re.IGNORECASE)
_BLOCK_NAME = re.compile("|".join(_BLOCK.split()), re.IGNORECASE)
_RAISED = re.compile(r"<(sup|sub)>([^<>]{0,200})</\1>", re.IGNORECASE)
_WITHDRAWN = re.compile(r"~~[^~\n]{1,200}~~|<(del|s|strike)>[^<>]{0,200}</\1>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}[0-9]{0,2}|#[0-9]{1,6}|#[xX][0-9A-Fa-f]{1,6});")

_NO_OPERAND = r"(?:(?<![\w)}\]*\\])|(?<=[^\W\d_]{2})(?=\*\*)|(?<=:))"
_STARS = re.compile(rf"{_NO_OPERAND}(\*{{1,3}})(?![\s*])([^*\n]{{0,2000}}[^\s*])\1(?![\w({{\[\\])")
_STARRED_LABEL = re.compile(rf"{_NO_OPERAND}(\*{{1,3}})(?![\s*])([^*\n]{{0,200}}[:=]) ?\1")
_SCORES = re.compile(r"(?<![\w)}\]\\])(_{1,3})(?![\s_{])([^_\n]{0,200}[^\s_])\1(?![\w({\[\\])")
_OPERAND_BEFORE = re.compile(r"[0-9)}\]]\s*\Z")
_OPERAND_AFTER = re.compile(r"\s*[0-9]|[({\\]")

_PICTURES = (
    "\u203c\u2049\u2139\u2190-\u21ff\u220e\u231a\u231b\u23e9-\u23fa\u25a0\u25a1\u25aa\u25ab\u25b6-\u25bb\u25c6\u25c7\u25cb\u25cf\u25fb-\u25fe"
    "\u2605-\u265f\u2668-\u2714\u2717-\u2775\u2794\u2798-\u27bf\u27f5-\u27ff\u2900-\u2bff"
    "\U0001f100-\U0001f320\U0001f380-\U0001f3ff\U0001f440-\U0001f94f\U0001f970-\U0001f97f\U0001f9cd-\U0001faff\U000e0020-\U000e007f"
)
"""Arrows, ticks and emoji; no signs of arithmetic, and none that count or name something (cards, animals, food): those may be the
answer."""
_PICTURE = re.compile(rf"[{_PICTURES}\s]")
_ARROWS = re.compile(rf"(?:[{_PICTURES}\s]|[=-]{{1,2}}>)*")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "„": "“", "「": "」", "『": "』", "``": "''"}

_RULE = re.compile(r"\s*(?:(?:[-*_=] ?){3,}|`{3,}\w*|~{3,}\w*)\s*")
_LIST_MARK = re.compile(r"\s*(?:[-+*•◦▪‣·–]|\(?[0-9]{1,2}[.)])\s+(?=\S)")
_LINE_MARK = re.compile(r"\A\s*(?:>\s?|#{1,6}\s+|:\s+)+")


def plain_signs(text: str) -> str:
    """Full-width forms, mathematical letters and invisible characters as the plain signs that they stand for."""
    if text.isascii():
        return text.replace("\r", "\n") if "\r" in text else text
    return _FOLDED.sub(lambda m: unicodedata.normalize("NFKC", m.group()), text).translate(_SIGNS)


def plain_text(text: str) -> str:
    """A text without HTML and withdrawn passages; block elements become lines of their own."""
    if "~~" in text or "<" in text:
        text = _WITHDRAWN.sub(" ", text)
    if "<" in text:
        closed = {name.lower() for name in _CLOSED.findall(text)}
        text = _RAISED.sub(lambda m: f"{'^' if m[1].lower() == 'sup' else '_'}{{{m[2]}}}", text)
        text = _TAG.sub(lambda m: _untagged(m, closed), text)
    return _ENTITY.sub(lambda m: unescape(m.group()), text) if "&" in text else text


def _untagged(match: re.Match[str], closed: set[str]) -> str:
    name = match[2].lower()
    if len(name) == 1 and name not in closed:  # `a<b>c` compares
        return match.group()
    if not _BLOCK_NAME.fullmatch(name):
        return ""
    mark = "- " if name == "li" else "# " if name[0] == "h" or name == "summary" else " "
    return "\n" if match[1] or name == "br" else "\n" + mark if mark != " " else mark


def plain_inline(text: str) -> str:
    """A piece of running text without bold, italics and code ticks; stars and scores between operands stay."""
    if "`" in text:
        text = text.replace("`", "")
    for _ in range(3):  # bold in italics, and the reverse
        before = text
        if "*" in text:
            text = _STARS.sub(_emphasised, _STARRED_LABEL.sub(r"\2", text))
        if "_" in text:
            text = _SCORES.sub(_emphasised, text)
        if text == before:
            break
    return text


def _emphasised(match: re.Match[str]) -> str:
    inner, text = match[2], match.string
    # `2 *3* 4` is arithmetic.
    after_operand = inner[0] in "0123456789({\\.+-" and _OPERAND_BEFORE.search(text, max(0, match.start() - 8), match.start())
    before_operand = inner[-1] in "0123456789)}" and _OPERAND_AFTER.match(text, match.end())
    return match.group() if after_operand or before_operand else inner


def undecorated(text: str) -> str:
    """Without emoji and arrows at both ends, and without quotation marks around the whole; what is nothing else stays."""
    end = len(text)
    while end and _PICTURE.match(text, end - 1):
        end -= 1
    arrows = _ARROWS.match(text)
    bare = text[arrows.end() if arrows else 0 : end]
    text = bare if any(c.isalnum() for c in bare) else text.strip()
    for opening, closing in _QUOTES.items():
        inner = text[len(opening) : -len(closing)]
        if (
            text.startswith(opening)
            and text.endswith(closing)
            and inner.strip()
            and opening not in inner
            and closing not in inner
        ):
            return inner.strip()
    return text


def plain_lines(lines: list[str]) -> str:
    """Lines of their own as one piece: without rules, fences, and heading and quotation marks; items of a list joined by
    commas."""
    kept = [_LINE_MARK.sub("", line, count=1) for line in lines if line.strip() and not _RULE.fullmatch(line)]
    if kept and all(_LIST_MARK.match(line) for line in kept):
        return ", ".join(_LIST_MARK.sub("", line, count=1).strip().rstrip(",;") for line in kept)
    return "\n".join(kept)


def is_list_item(line: str) -> bool:
    """Whether a line begins with the mark of a list."""
    return _LIST_MARK.match(line) is not None


def is_rule(line: str) -> bool:
    """Whether a line only draws a line or fences code."""
    return _RULE.fullmatch(line) is not None


def unmarked(text: str) -> str:
    """An answer without the mark-up around it, and without bold and italics inside; idempotent but for nesting.

    >>> unmarked("✅ **73**"), unmarked("2**3"), unmarked("<b>７３</b>")
    ('73', '2**3', '73')
    """
    if not _SUSPECT.search(text):
        return text.strip()
    text = plain_text(plain_signs(text))
    if "\n" in text:
        text = plain_lines(text.split("\n"))
    elif "#" in text:
        text = _LINE_MARK.sub("", text, count=1) if text.lstrip().startswith("#") else text
    return undecorated(plain_inline(undecorated(text)))
