r"""The outer form of an answer: number or formula, list, set, tuple, interval, union, matrix, equation, inequality.

Read from normalised text by brackets and separators alone; what stands inside stays text until two leaves are
compared. So most structured answers are settled without any algebra system, and none of its guesses about structure
can leak in.
"""

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from rlvr_graders.math.latex import ROW
from rlvr_graders.math.numbers import parse_quantity

MAX_PARTS = 64
MAX_NESTING = 4
INFINITY = "\\infty"


Kind = Literal["scalar", "list", "set", "tuple", "interval", "union", "range", "matrix", "equation", "inequality", "other"]


@dataclass(frozen=True)
class Shape:
    """An answer split into its parts, none of which has been evaluated.

    A scalar has a `text`, and so has what no other kind fits (`other`); an equation and an inequality have two `sides`; the
    other kinds have `parts`.
    """

    kind: Kind
    parts: tuple["Shape", ...] = ()
    label: str | None = None
    """What stood before "=", or the variable of an interval."""
    open: tuple[bool, bool] = (False, False)
    """For each end of an interval, whether it is excluded; for an inequality, whether it is strict."""
    width: int = 0
    """Row length of a matrix."""
    text: str = ""
    sides: tuple[str, str] = ("", "")


def scalar(text: str, label: str | None = None) -> Shape:
    """A number, a formula or words."""
    return Shape("scalar", label=label, text=text)


def _other(text: str) -> Shape:
    return Shape("other", text=text)


def _interval(low: Shape, high: Shape, open: tuple[bool, bool], label: str | None = None) -> Shape:
    return Shape("interval", (low, high), label, open)


_MATRIX = re.compile(r"\\begin ?\{([pbB]?matrix|array)\} ?(?:\{[lcr| ]*\})?(.*)\\end ?\{\1\}", re.DOTALL)
_LABEL = re.compile(
    r"m? ?\\angle ?[A-Z]{1,3}|\\?[A-Za-z]+(?: ?\^ ?\{? ?-1 ?\}?(?= ?\())?(?: ?_ ?(?:\{[^{}=]{1,12}\}|[A-Za-z0-9]))?'*(?: ?\( ?[a-zA-Z](?: ?, ?[a-zA-Z])* ?\))?"  # noqa: E501
    r"|\( ?\\?[a-z]+(?: ?, ?\\?[a-z]+)+ ?\)"
    r"|(?:the )?[A-Za-z]+(?: [A-Za-z]+){0,3}"
)
_VARIABLE = re.compile(r"\\?[A-Za-z]+(?:_(?:\{\w+\}|\w))?")
_RELATION = re.compile(r"<=|>=|<|>|=|\\ne(?![a-z])|\\in(?![a-z])|\\approx|\\equiv|\\sim(?![a-z])")
_LOGIC = re.compile(r"\\(lor|land|vee|wedge)(?![a-zA-Z])")
_RANGE = re.compile(r"([$€£¥₹]?)([0-9][0-9.,]*) ?- ?\1?([0-9][0-9.,]*)( ?%| [A-Za-z][A-Za-z /]*)?")
_NO_LABEL = re.compile(r"\b(?:not|no|never|least|most|half|twice|double|minus|plus|times|per)\b")
_OR = re.compile(r",? or ")
_AND = re.compile(r",? and |, ?|; ?")
_CUP = re.compile(r"\\cup(?![a-z])|(?<=[\])]) U (?=[\[(])")
_SUCH_THAT = re.compile(r"\\mid|\\vert|\||:")
_REALS = ("\\mathbb{R}", "\\mathbb {R}", "\\mathbb R", "all real numbers", "all reals")
_OPENING, _CLOSING = "([{", ")]}"
_DOUBLE_SIGN = re.compile(r"\\(pm|mp)(?![a-zA-Z]) ?")


def split_top(text: str, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """Pieces of a text between matches of a pattern outside all brackets, each with the separator before it (""
    first).
    """
    pieces, depth, start, separator, index = [], 0, 0, "", 0
    while index < len(text):
        char = text[index]
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
        elif depth == 0 and (match := pattern.match(text, index)) and match.end() > index:
            pieces.append((separator, text[start:index].strip()))
            separator, start = match.group(), match.end()
            index = start
            continue
        index += 1
    pieces.append((separator, text[start:].strip()))
    return pieces


def _is_variable(text: str) -> bool:
    return (
        _VARIABLE.fullmatch(text) is not None
        and text not in ("e", "i", "\\pi", INFINITY)
        and (text.startswith("\\") or len(text.split("_")[0]) == 1)
    )


def _enclosed(text: str) -> bool:
    """Whether the first bracket is closed by the very last character."""
    if len(text) < 2 or text[0] not in _OPENING or text[-1] not in _CLOSING:
        return False
    depth = 0
    for index, char in enumerate(text):
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
            if depth == 0:
                return index == len(text) - 1
    return False


def parse_shape(text: str, nesting: int = 0) -> Shape:
    """The shape of a normalised answer; what has no other form is a scalar."""
    text = text.strip()
    if nesting > MAX_NESTING or (nesting == 0 and parse_quantity(text) is not None):
        return scalar(text)
    while _enclosed(text) and text[0] == "{":
        text = text[1:-1].strip()
    for reader in (_matrix, _range, _logic, _alternatives, _relation, _list, _union, _brackets, _named, _double_sign):
        shape = reader(text, nesting + 1)
        if shape is not None:
            return shape
    return scalar(text)


def _matrix(text: str, nesting: int) -> Shape | None:
    match = _MATRIX.fullmatch(text)
    if match is None:
        return None
    rows = [row.split("&") for row in match.group(2).strip().removesuffix(ROW).split(ROW)]
    if len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_PARTS:
        return _other(text)
    cells = tuple(parse_shape(cell, nesting) for row in rows for cell in row)
    return Shape("matrix", cells, width=len(rows[0]))


def _range(text: str, nesting: int) -> Shape | None:
    """`10-15 minutes` as a whole answer: from 10 to 15 minutes, and no difference."""
    match = _RANGE.fullmatch(text) if nesting == 1 else None
    if match is None:
        return None
    ends = [match.group(1) + end + (match.group(4) or "") for end in match.group(2, 3)]
    low, high = (parse_quantity(end) for end in ends)
    if low is None or high is None or low.value >= high.value:
        return None
    return Shape("range", tuple(map(scalar, ends)))


def _logic(text: str, nesting: int) -> Shape | None:
    """Conditions joined by signs; propositions joined by them are compared as text."""
    if not _LOGIC.search(text):
        return None
    pieces = [piece for _, piece in split_top(text, _LOGIC)]
    if len(pieces) < 2:
        return None
    if not all(_RELATION.search(piece) for piece in pieces):
        return _other(text)
    return parse_shape(_LOGIC.sub(lambda m: " or " if m[1] in ("lor", "vee") else " and ", text).replace("  ", " "), nesting)


def _alternatives(text: str, nesting: int) -> Shape | None:
    if " or " not in text:
        return None
    pieces = [piece for _, piece in split_top(text, _OR)]
    if len(pieces) < 2 or not all(pieces) or len(pieces) > MAX_PARTS:
        return None
    shapes = tuple(parse_shape(piece, nesting) for piece in pieces)
    if all(shape.kind in ("interval", "union") for shape in shapes) and len({shape.label for shape in shapes}) == 1:
        return Shape("union", shapes, label=shapes[0].label)
    return Shape("list", shapes)


def _relation(text: str, nesting: int) -> Shape | None:
    pieces = split_top(text, _RELATION)
    if len(pieces) < 2 or any(not piece for _, piece in pieces):
        return None
    operators = [operator for operator, _ in pieces[1:]]
    sides = [side for _, side in pieces]
    if len(split_top(text, _AND)) > 1 and not (operators == ["\\in"] or (len(operators) == 1 and _has_comma(sides[-1]))):
        return None
    if operators == ["\\in"]:
        return _labelled(parse_shape(sides[1], nesting), sides[0]) if _is_variable(sides[0]) else None
    if set(operators) == {"="}:
        return _equation(sides, nesting)
    if operators == ["\\ne"] and _is_variable(sides[0]):
        return replace(_without((parse_shape(sides[1], nesting),)), label=sides[0])
    return _inequality(sides, operators, nesting)


def _without(points: tuple[Shape, ...]) -> Shape:
    """The real line without some points, which stand in order."""
    ends = (_infinity(-1), *points, _infinity(1))
    return Shape("union", tuple(_interval(low, high, (True, True)) for low, high in pairwise(ends)))


def _has_comma(text: str) -> bool:
    return len(split_top(text, _AND)) > 1


def _equation(sides: list[str], nesting: int) -> Shape | None:
    if _LABEL.fullmatch(sides[0]) and not _NO_LABEL.search(sides[0]) and (len(sides[0]) == 1 or not _product(sides[0])):
        if _has_comma(sides[-1]) and not _is_variable(sides[0]):
            return None
        if len(split_top("=".join(sides), _AND)) > 1 and "=" in sides[-1]:
            return None
        amount = parse_quantity(sides[-1]) is not None  # `x = 1,234` is one number
        return _labelled(scalar(sides[-1]) if amount else parse_shape(sides[-1], nesting), sides[0])
    if len(sides) == 2 and _is_variable(sides[1]):
        return _labelled(parse_shape(sides[0], nesting), sides[1])
    return Shape("equation", sides=(sides[0], sides[1])) if len(sides) == 2 else _other("=".join(sides))


def _product(text: str) -> bool:
    # `xy = 5` is an equation, `Area = 5` and `f(x) = 5` are labels.
    return text.isalpha() and text.islower() and len(text) <= 3


def _labelled(shape: Shape, label: str) -> Shape:
    names = label.strip("() ").split(",") if label.startswith("(") else ()
    if shape.kind == "tuple" and len(names) == len(shape.parts):  # (y, x) = (2, 1): each part has its name
        return replace(shape, parts=tuple(map(_labelled, shape.parts, names)))
    return replace(shape, label=label.replace(" ", ""))


def _infinity(sign: int) -> Shape:
    return scalar(INFINITY if sign > 0 else "-" + INFINITY)


def _inequality(sides: list[str], operators: list[str], nesting: int) -> Shape | None:
    if any(operator not in ("<", ">", "<=", ">=") for operator in operators) or len({o[0] for o in operators}) != 1:
        return _other("".join(a + b for a, b in zip(sides, [*operators, ""], strict=True)))
    if operators[0][0] == ">":
        sides, operators = sides[::-1], operators[::-1]
    strict = [len(operator) == 1 for operator in operators]
    if len(sides) == 3 and _is_variable(sides[1]):
        return _interval(parse_shape(sides[0], nesting), parse_shape(sides[2], nesting), (strict[0], strict[1]), sides[1])
    if len(sides) == 2 and _is_variable(sides[0]) and not _is_variable(sides[1]):
        return _interval(_infinity(-1), parse_shape(sides[1], nesting), (True, strict[0]), sides[0])
    if len(sides) == 2 and _is_variable(sides[1]) and not _is_variable(sides[0]):
        return _interval(parse_shape(sides[0], nesting), _infinity(1), (strict[0], True), sides[1])
    if len(sides) == 2:
        return Shape("inequality", sides=(sides[0], sides[1]), open=(strict[0], strict[0]))
    return _other("<".join(sides))


def _list(text: str, nesting: int) -> Shape | None:
    if "," not in text and ";" not in text and " and " not in text:
        return None
    pieces = [piece for _, piece in split_top(text, _AND)]
    if not 2 <= len(pieces) <= MAX_PARTS or not all(pieces):
        return None
    if pieces[-1].endswith("\\ldots") and pieces[-1] != "\\ldots" and "." not in pieces[-1]:
        pieces[-1:] = [pieces[-1].removesuffix("\\ldots").strip(), "\\ldots"]
    shapes = tuple(parse_shape(piece, nesting) for piece in pieces)
    return _between(*shapes) or Shape("list", shapes)


def _between(*shapes: Shape) -> Shape | None:
    """`x > 2 and x < 5` is `2 < x < 5`."""
    rays = [shape for shape in shapes if shape.kind == "interval" and shape.label]
    if len(shapes) != 2 or len(rays) != 2 or rays[0].label != rays[1].label:
        return None
    low, high = rays if rays[1].parts[0] == _infinity(-1) else rays[::-1]
    if high.parts[0] != _infinity(-1) or low.parts[1] != _infinity(1):
        return None
    ends = (low.parts[0], high.parts[1])
    numbers = [quantity.value for end in ends if end.kind == "scalar" and (quantity := parse_quantity(end.text))]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        return None  # nothing lies between
    return _interval(*ends, (low.open[0], high.open[1]), low.label)


def _union(text: str, nesting: int) -> Shape | None:
    pieces = [piece for _, piece in split_top(text, _CUP)]
    if not 2 <= len(pieces) <= MAX_PARTS or not all(pieces):
        return None
    return Shape("union", tuple(parse_shape(piece, nesting) for piece in pieces))


def _brackets(text: str, nesting: int) -> Shape | None:
    if text.startswith("\\{") and text.endswith("\\}"):
        return _set(text[2:-2].strip(), nesting)
    if len(text) > 2 and (text[0] == "]" or text[-1] == "["):  # ]2, 5[ is (2, 5)
        text = ("(" if text[0] == "]" else text[0]) + text[1:-1] + (")" if text[-1] == "[" else text[-1])
        shape = _brackets(text, nesting) if _enclosed(text) else None
        return (
            replace(shape, kind="interval", open=(text[0] == "(", text[-1] == ")")) if shape and len(shape.parts) == 2 else None
        )
    if not _enclosed(text):
        return None
    inner, square = text[1:-1].strip(), (text[0] == "[", text[-1] == "]")
    pieces = [piece for _, piece in split_top(inner, re.compile("[,;]"))]
    if len(pieces) == 1:
        return parse_shape(inner, nesting) if not any(square) and inner else None
    if not all(pieces) or len(pieces) > MAX_PARTS:
        return _other(text)
    parts = tuple(parse_shape(piece, nesting) for piece in pieces)
    if len(parts) == 2 and (any(square) or _endless(parts)):
        return _interval(*parts, (not square[0], not square[1]))
    return Shape("tuple", parts)


def _endless(parts: tuple[Shape, ...]) -> bool:
    return any(INFINITY in part.text for part in parts if part.kind == "scalar")


def _set(inner: str, nesting: int) -> Shape:
    if not inner:
        return Shape("set")
    condition = split_top(inner, _SUCH_THAT)
    if len(condition) == 2 and all(piece for _, piece in condition):
        name, _, domain = condition[0][1].partition("\\in")
        shape = parse_shape(condition[1][1], nesting)
        # {x^2 : x > 2} and the integers above 2 are no intervals; {x : x > 2} is, whatever its variable is called.
        named = _is_variable(name.strip()) and domain.strip() in ("", *_REALS) and shape.label == name.strip()
        return replace(shape, label=None) if named and shape.kind in ("interval", "union") else _other(inner)
    pieces = [piece for _, piece in split_top(inner, re.compile("[,;]"))]
    if not all(pieces) or len(pieces) > MAX_PARTS:
        return _other(inner)
    return Shape("set", tuple(parse_shape(piece, nesting) for piece in pieces))


def _named(text: str, nesting: int) -> Shape | None:
    line, sign, points = text.partition("\\setminus")
    if sign and line.strip() in _REALS:
        taken = parse_shape(points, nesting)
        values = [quantity.value for part in taken.parts if part.kind == "scalar" and (quantity := parse_quantity(part.text))]
        if taken.kind == "set" and len(taken.parts) == 1:
            return _without(taken.parts)
        if taken.kind == "set" and taken.parts and len(values) == len(taken.parts):
            return _without(tuple(taken.parts[at] for at in sorted(range(len(values)), key=values.__getitem__)))
    if text == "\\emptyset":
        return Shape("set")
    if text in _REALS:
        return _interval(_infinity(-1), _infinity(1), (True, True))
    return None


def _double_sign(text: str, nesting: int) -> Shape | None:
    if len(_DOUBLE_SIGN.findall(text)) != 1:
        return None
    upper = _DOUBLE_SIGN.sub(lambda m: "+" if m.group(1) == "pm" else "-", text)
    lower = _DOUBLE_SIGN.sub(lambda m: "-" if m.group(1) == "pm" else "+", text)
    return Shape("list", (parse_shape(upper, nesting), parse_shape(lower, nesting)))
