r"""One spelling for the many ways to write the same formula: LaTeX, Unicode and plain text become one plain notation.

Nothing here decides what is equal; it only removes typography: sizes (`\left`, `\dfrac`), spacing, fonts, dollar signs,
Unicode operators, unbraced arguments (`\frac12`, `\sqrt2`), `\text{…}`. A rewrite that could change a value has no
place here: `²` becomes `^{2}` and never `2`.
"""

import re

from rlvr_graders.markup import unmarked
from rlvr_graders.math.vocabulary import word_set

ROW = "\x02"
"""Stands for the row separator of matrices in normalised text."""

UNIT = "\x03"
"""Stands before a single letter that `\\text{}` marked as a unit: `2\\pi\\text{ m}` is metres, `2\\pi m` is a product."""

_SUPERSCRIPTS = {ord(c): d for c, d in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True)}
_SUBSCRIPTS = {ord(c): d for c, d in zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True)}
_VULGAR = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅖": "2/5",
    "⅗": "3/5",
    "⅘": "4/5",
    "⅙": "1/6",
    "⅚": "5/6",
    "⅐": "1/7",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
    "⅞": "7/8",
    "⅑": "1/9",
    "⅒": "1/10",
}
_UNICODE = {
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "﹣": "-",
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∙": "*",
    "✕": "*",
    "∗": "*",
    "÷": "/",
    "⁄": "/",
    "∕": "/",
    "π": "\\pi ",
    "∞": "\\infty ",
    "≤": "<=",
    "≥": ">=",
    "⩽": "<=",
    "⩾": ">=",
    "≠": "\\ne ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∈": "\\in ",
    "∅": "\\emptyset ",
    "±": "\\pm ",
    "∓": "\\mp ",
    "°": " degrees ",
    "º": " degrees ",
    "ℝ": "\\mathbb{R}",
    "\u00a0": " ",
    "\u202f": " ",
    "\u2009": " ",
    "′": "'",
    "’": "'",
    "θ": "\\theta ",
    "…": "...",
    "∧": "\\land ",
    "∨": "\\lor ",
    "℃": " degrees C",
    "℉": " degrees F",
    "α": "\\alpha ",
    "β": "\\beta ",
    "λ": "\\lambda ",
    "\x00": "\ufffd",
}
_TRANSLATE = str.maketrans(_UNICODE)

_PYTHON_POWER = re.compile(r"\*\*(?=\s*[({\\\w.+-])")
_SIZES = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|middle|displaystyle|textstyle|scriptstyle|limits|boldsymbol|bm|rm|bf|it|mathstrut|"
    r"tiny|small|normalsize|[lL]arge|LARGE|[hH]uge|bfseries|centering|"
    r"phantom\{[^{}]*\})(?![a-zA-Z])\s*"
)
_EMPTY_DELIMITER = re.compile(r"\\(?:left|right)\s*\.(?!\d)")
_SPACING = re.compile(r"\\[,;:> ~]|\\(?:quad|qquad|thinspace|enspace|hspace\{[^{}]*\}|hfill)(?![a-zA-Z])|~")
_NESTED = r"((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)"
_TEXT = re.compile(rf"\\(?:text(?:bf|it|rm|sf|sc|sl|tt|up|md|normal)?|emph|mbox|hbox)\s*\{{{_NESTED}\}}")
_FONT = re.compile(rf"\\(?:underline|math(?:rm|bf|it|sf|tt|cal|normal)|operatorname\*?|mathop)\s*\{{{_NESTED}\}}")
_COLOR = re.compile(r"\\(?:text)?color\s*\{[^{}]*\}")
_CHOOSE = re.compile(r"\{([^{}\\]*)\\choose(?![a-zA-Z])([^{}\\]*)\}")
_DOTTED = re.compile(r"(\.[0-9]*)\\dot\{?([0-9])\}?(?:([0-9]*)\\dot\{?([0-9])\}?)?")
_NEGATIVE_SPACE = re.compile(r"\\!\s*")
_NO_UNIT = re.compile(rf"{UNIT}(?!\s*[mgshlLNJWt](?:\s*$|\s*\^|\s*/|\s*[.,]?\s*$))|^\s*{UNIT}")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\\degrees?(?![a-zA-Z])|\^\s*\{?\s*o\s*\}?(?=\s*$)")
_ARGUMENT = r"([0-9a-zA-Z]|\\(?:pi|theta|alpha|beta)(?![a-zA-Z]))"
_UNBRACED = re.compile(rf"\\(frac|binom)\s*{_ARGUMENT}\s*(?:{_ARGUMENT}|(?=\{{))")
_FRAC_SECOND = re.compile(rf"(\\(?:frac|binom)\s*\{{[^{{}}]*\}})\s*{_ARGUMENT}")
_UNBRACED_SQRT = re.compile(rf"\\sqrt\s*{_ARGUMENT}")
_PLAIN_SQRT = re.compile(r"(?<![A-Za-z\\])sqrt ?([0-9]+(?:\.[0-9]+)?)")
_SQRT_PARENS = re.compile(r"(\\sqrt|(?<![A-Za-z\\])sqrt|√)\s*\(")
_SQRT_SIGN = re.compile(r"√\s*([0-9.]+|[a-zA-Z]|\\pi)")
_LEADING = re.compile(r"(?:=|\\approx(?![a-z])|≈|~|:) ?")
_SPACES = re.compile(r"\s+")
_PLAIN = re.compile(r"-?[0-9]{1,18}")
_UPPER = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOWER = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_COMMANDS = {
    "dfrac": "\\frac",
    "tfrac": "\\frac",
    "cfrac": "\\frac",
    "dbinom": "\\binom",
    "tbinom": "\\binom",
    "cdot": "*",
    "times": "*",
    "ast": "*",
    "div": "/",
    "leq": "<=",
    "le": "<=",
    "leqslant": "<=",
    "geq": ">=",
    "ge": ">=",
    "geqslant": ">=",
    "lt": "<",
    "gt": ">",
    "neq": "\\ne ",
    "lbrace": "\\{",
    "rbrace": "\\}",
    "lbrack": "[",
    "rbrack": "]",
    "langle": "(",
    "rangle": ")",
    "lvert": "|",
    "rvert": "|",
    "vert": "|",
    "varnothing": "\\emptyset ",
    "colon": ":",
    "dollar": "$",
    "dots": "\\ldots ",
    "dotsc": "\\ldots ",
    "R": "\\mathbb{R}",
    "Reals": "\\mathbb{R}",
}
_TRAILING_DOTS = re.compile(r"(?<=[0-9,;+*-])(\s*)\.{3,}")
_RECURRING = re.compile(
    r"([0-9]\.)\(([0-9]+)\)|((?<![0-9])[0-9]*\.[0-9]{0,30}?)(?:([0-9])\4{2,}|([0-9]{2,12})\5+) ?\\ldots(?![a-zA-Z]) ?"
)
_TEMPERATURE = re.compile(r"(?<![A-Za-z])degrees? (?:C|([Cc])elsius|F|([Ff])ahrenheit)(?![A-Za-z])")
_CLOCK = re.compile(r"\b([0-9]{1,2}:[0-9]{2}|[0-9]{1,2}(?= |[ap]\.)) ?([ap])\.? ?m\b\.?", re.IGNORECASE)
_TIMES = re.compile(r"(?<=[0-9]) x (?=10 ?\^)|(?<=[0-9])x(?=10 ?\^)")
_BASES = ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_BASE_WORD = re.compile(rf"_ ?\{{ ?({'|'.join(_BASES)}) ?\}}")
_COMBINATIONS = re.compile(
    r"(?<![A-Za-z0-9\\})])(?:C ?\( ?([0-9]{1,4}) ?, ?([0-9]{1,4}) ?\)"
    r"|(?:\{ ?\} ?)?[_^] ?\{? ?([0-9]{1,4}) ?\}? ?C ?_ ?\{? ?([0-9]{1,4}) ?\}?)"
)
_COMMAND = re.compile(r"\\(" + "|".join(sorted(_COMMANDS, key=len, reverse=True)) + r")(?![a-zA-Z])\s*")


def normalise(text: str) -> str:
    r"""The same formula in one spelling; linear in its length but for a few bounded rewrites.

    Brackets of sets stay escaped (`\{1, 2\}`), commands that mean something stay (`\frac`, `\sqrt`, `\pi`), everything
    that is only typography goes.
    """
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return text
    text = unmarked(text)
    if not text.isascii() or "\x00" in text:
        text = _from_unicode(text)
    if "**" in text:
        text = _PYTHON_POWER.sub("^", text)
    if "\\" in text:
        text = _from_latex(text)
    text = _dollars(text)
    text = text.replace("{,}", ",").replace("\\%", "%").replace("\\&", "&").replace("\\#", "#").replace("\\_", "_")
    if "sqrt" in text or "√" in text:
        text = _roots(text)
    text = _SPACES.sub(" ", text).strip()
    text = _wordings(text)
    text = _LEADING.sub("", text, count=1) if text[:1] in ("=", "\\", "≈", "~", ":") and _LEADING.match(text) else text
    if text.endswith("\\") and not text.endswith(ROW):  # what remains of a final `\ `
        text = text[:-1].rstrip()
    for _ in range(4):
        if text[:1] != "{" or matching(text, 0) != len(text) - 1:
            break
        text = text[1:-1].strip()
    while text and (text[-1] in ".,;:!" and not text.endswith("\\!")) and not _factorial(text):
        text = text[:-1].rstrip()
    return text


def _factorial(text: str) -> bool:
    return text[-1] == "!" and text[:-1].rstrip()[-1:] not in ("", ".", ",", ";", ":")


def _wordings(text: str) -> str:
    """Ways to write a number that need more than one sign to be seen: dots that go on, temperatures, times of day."""
    if "..." in text:
        text = _TRAILING_DOTS.sub(r"\1\\ldots ", text).rstrip()
    if ".(" in text or "\\ldots" in text:
        text = _RECURRING.sub(lambda m: f"{m[1] or m[3]}\\overline{{{m[2] or m[4] or m[5]}}}", text).rstrip()
    if "degree" in text:
        text = _TEMPERATURE.sub(lambda m: "celsius" if "C" in m[0] or m[1] else "fahrenheit", text)
    if "m" in text or "M" in text:
        text = _CLOCK.sub(lambda m: f"{m[1]} {m[2].lower()}m", text)
    if "x" in text:
        text = _TIMES.sub("*", text)
    if "_" in text:
        text = _BASE_WORD.sub(lambda m: f"_{{{_BASES.index(m[1]) + 2}}}", text)
    if "C" in text:
        text = _COMBINATIONS.sub(lambda m: f"\\binom{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}", text)
    return text


def _from_unicode(text: str) -> str:
    for sign, plain in _VULGAR.items():
        if sign in text:
            numerator, denominator = plain.split("/")
            text = text.replace(sign, f"\\frac{{{numerator}}}{{{denominator}}}")
    text = _UPPER.sub(lambda m: "^{" + m.group().translate(_SUPERSCRIPTS) + "}", text)
    text = _LOWER.sub(lambda m: "_{" + m.group().translate(_SUBSCRIPTS) + "}", text)
    return text.translate(_TRANSLATE)


def _from_latex(text: str) -> str:
    text = text.replace("\\\\", ROW)  # before anything else looks at single backslashes
    text = _NEGATIVE_SPACE.sub("", text)
    for opening, closing in (("\\(", "\\)"), ("\\[", "\\]")):
        if text.startswith(opening) and text.endswith(closing):
            text = text[2:-2].strip()
    if "\\left" in text or "\\right" in text:
        text = _EMPTY_DELIMITER.sub(" ", text)
    text = _COLOR.sub("", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", text)
    text = _DOTTED.sub(lambda m: f"{m[1]}\\overline{{{m[2]}{m[3] or ''}{m[4] or ''}}}", text)
    text = _SIZES.sub("", text)
    text = _SPACING.sub(" ", text)
    for _ in range(4):  # fonts nest; deeper nesting than this is not typography
        before = text
        text = _TEXT.sub(rf" {UNIT}\1 ", text)
        text = _FONT.sub(_font, text)
        if text == before:
            break
    text = _NO_UNIT.sub("", text)
    text = _DEGREES.sub(" degrees ", text)
    text = _COMMAND.sub(lambda m: _COMMANDS[m.group(1)], text)
    if "frac" in text or "binom" in text:
        text = _UNBRACED.sub(_braced, text)
        text = _FRAC_SECOND.sub(r"\1{\2}", text)
    return text


def _font(match: re.Match[str]) -> str:
    inner = match.group(1).strip()
    # A single letter in roman is a constant or a variable (e, i, d); a word is a unit or a function name.
    if len(inner) == 1:
        return inner + " "
    return f" \\{inner} " if inner in _FUNCTION_WORDS else f" {inner} "


_FUNCTION_WORDS = word_set("sin cos tan cot sec csc log ln exp arcsin arccos arctan lcm gcd")


def _braced(match: re.Match[str]) -> str:
    command, first, second = match.groups()
    return f"\\{command}{{{first}}}" + (f"{{{second}}}" if second else "")


def _dollars(text: str) -> str:
    r"""Math delimiters go, currency stays: `$5$` is 5, `$5` and `\$5` are five dollars."""
    if "$" not in text:
        return text
    text = text.replace("\\$", "\x01")
    text = text.replace("$$", "$")
    if text.count("$") % 2 == 0:
        text = text.replace("$", " ")
    return text.replace("\x01", "$").strip()


def _roots(text: str) -> str:
    r"""`\sqrt2`, `\sqrt(2)`, `sqrt(2)`, `√2` and `√(2)` all become `\sqrt{2}`."""
    text = _UNBRACED_SQRT.sub(r"\\sqrt{\1}", text)
    text = _PLAIN_SQRT.sub(r"\\sqrt{\1}", text)
    text = _SQRT_SIGN.sub(r"\\sqrt{\1}", text)
    for _ in range(20):
        match = _SQRT_PARENS.search(text)
        if match is None:
            break
        close = matching(text, match.end() - 1)
        if close is None:
            break
        text = text[: match.start()] + "\\sqrt{" + text[match.end() : close] + "}" + text[close + 1 :]
    return text


_PAIRS = {"(": ")", "[": "]", "{": "}"}


def matching(text: str, start: int) -> int | None:
    """Index of the bracket that closes the one at `start`, counting that kind only; None when it never closes."""
    opening, closing, depth = text[start], _PAIRS[text[start]], 0
    for index in range(start, len(text)):
        if text[index] == opening:
            depth += 1
        elif text[index] == closing:
            depth -= 1
            if depth == 0:
                return index
    return None


def balanced(text: str) -> bool:
    """Whether curly braces, escaped or not, close in order; what does not balance is malformed and never parsed."""
    depth = 0
    for char in text:
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth < 0:
                return False
    return depth == 0
