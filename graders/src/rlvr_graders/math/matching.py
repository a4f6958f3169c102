r"""Whether two shapes are the same answer, part by part.

Sets and lists compare without order (a list of roots is a set of roots), tuples and matrices in order, intervals with
their ends open or closed, equations up to a constant factor. Conventions that are not mathematics stand in
docs/rewards.md.
"""

from dataclasses import replace

from rlvr_graders.math.leaves import Comparer, exact
from rlvr_graders.math.shapes import INFINITY, Shape


def same(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    """Whether two shapes are the same answer; may raise what `Comparer` raises."""
    if _kind(gold) == _kind(answer) == "labelled" and gold.label != answer.label and _are_variables(gold, answer):
        return _equations(gold, answer, comparer)  # `y = 2x` is `x = y/2`, and `x = 5` is not `y = 5`
    if not _labels_agree(gold.label, answer.label):
        comparer.detail = "another variable"
        return False
    pair = (_kind(gold), _kind(answer))
    handler = _HANDLERS.get(pair) or _swapped(pair)
    if handler is None:
        comparer.detail = f"{answer.kind} instead of {gold.kind}"
        return False
    return handler(gold, answer, comparer)


def _kind(shape: Shape) -> str:
    return "labelled" if shape.kind == "scalar" and shape.label else shape.kind


def _labels_agree(gold: str | None, answer: str | None) -> bool:
    if gold is None or answer is None or gold == answer:
        return True
    # `y = x^2` and `f(x) = x^2` say the same; so do a name in words and a symbol.
    return ("(" in gold) != ("(" in answer) or (len(gold) > 3) != (len(answer) > 3)


def _are_variables(*shapes: Shape) -> bool:
    return all(shape.label is not None and len(shape.label.lstrip("\\")) == 1 for shape in shapes)


def _scalars(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return comparer.scalars(gold.parts[0], answer.parts[0])


def _ordered(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    gold, answer = _in_order(gold, answer), _in_order(answer, gold)
    return len(gold.parts) == len(answer.parts) and all(
        same(a, b, comparer) for a, b in zip(gold.parts, answer.parts, strict=True)
    )


def _names(shape: Shape) -> list[str]:
    """Names of the parts, where each has its own: `x = 1, y = 2`, but not `x = 1, x = 2`."""
    labels = [part.label for part in shape.parts]
    return labels if all(labels) and len(set(labels)) == len(labels) > 1 else []


def _in_order(shape: Shape, other: Shape) -> Shape:
    """Parts with names in the order of their names, which is the order of a tuple without names if they are letters."""
    names = _names(shape)
    if names and (_names(other) or all(len(name.split("_")[0]) == 1 for name in names)):
        return replace(shape, parts=tuple(sorted(shape.parts, key=lambda part: part.label)))
    return shape


def _covers(these: tuple[Shape, ...], those: tuple[Shape, ...], comparer: Comparer) -> bool:
    return all(any(same(a, b, comparer) for b in those) for a in these)


def _unordered(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    # In both directions, so that {1, 1, 2} is {1, 2} and {1, 2} is not {1, 2, 3}.
    return _covers(gold.parts, answer.parts, comparer) and _covers(answer.parts, gold.parts, comparer)


def _lists(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    if bool(_names(gold)) != bool(_names(answer)):  # `2, 1` is not `x = 1, y = 2`
        return _ordered(gold, answer, comparer)
    rest = list(answer.parts)
    for part in gold.parts:  # one to one: 2, 2, 3 is not 2, 3, 3
        found = next((other for other in rest if same(part, other, comparer)), None)
        if found is None:
            return False
        rest.remove(found)
    return not rest


def _set_and_list(one: Shape, other: Shape, comparer: Comparer) -> bool:
    return not _names(one) and not _names(other) and _unordered(one, other, comparer)


def _intervals(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return _interval_open(gold) == _interval_open(answer) and _ordered(gold, answer, comparer)


def _interval_open(shape: Shape) -> tuple[bool, bool]:
    # A pair in parentheses next to an interval is the open interval.
    opened = (True, True) if shape.kind == "tuple" else shape.open
    # Infinity is never reached, however the bracket was drawn.
    ends = [INFINITY in part.parts[0] if part.kind == "scalar" else False for part in shape.parts]
    return opened[0] or ends[0], opened[1] or ends[1]


def _pair_as_interval(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return len(gold.parts) == len(answer.parts) == 2 and _intervals(gold, answer, comparer)


def _unions(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    merged = [_merged(shape) for shape in (gold, answer)]
    if None not in merged:
        return merged[0] == merged[1]
    if not all(part.kind in ("interval", "tuple", "set") for shape in (gold, answer) for part in _union_parts(shape)):
        return False
    return _unordered(Shape("union", _union_parts(gold)), Shape("union", _union_parts(answer)), comparer)


def _union_parts(shape: Shape) -> tuple[Shape, ...]:
    parts = shape.parts if shape.kind == "union" else (shape,)
    return tuple(
        Shape("interval", part.parts, open=(True, True)) if part.kind == "tuple" and len(part.parts) == 2 else
        Shape(part.kind, part.parts, open=part.open) for part in parts
    )  # fmt: skip


def _merged(shape: Shape) -> list[tuple] | None:
    """The union as sorted disjoint pieces (low, high) of positions on the line, or None when an end is not exact.

    A position is (value, side): side -1 just below, 0 at, 1 just above the value, so that open and closed ends sort.
    """
    pieces = []
    for part in _union_parts(shape):
        if part.kind == "set":
            points = [_position(p, 0) for p in part.parts]
            pieces += [(p, p) for p in points]
        elif part.kind == "interval" and len(part.parts) == 2:
            opened = _interval_open(part)
            pieces.append((_position(part.parts[0], int(opened[0])), _position(part.parts[1], -int(opened[1]))))
        else:
            return None
    if any(end is None for piece in pieces for end in piece):
        return None
    out: list[tuple] = []
    for low, high in sorted(piece for piece in pieces if piece[0] <= piece[1]):
        if out and _touches(out[-1][1], low):
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return out


def _position(part: Shape, side: int) -> tuple | None:
    if part.kind != "scalar":
        return None
    text = part.parts[0].replace(" ", "")
    if text in (INFINITY, "+" + INFINITY, "-" + INFINITY):
        return (float("-inf") if text[0] == "-" else float("inf"), 0)
    value = exact(text)
    return None if value is None else (value, side)


def _touches(high: tuple, low: tuple) -> bool:
    return low <= high or (low[0] == high[0] and low[1] - high[1] == 1)


def _matrices(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return gold.width == answer.width and _ordered(gold, answer, comparer)


def _vector(matrix: Shape, pair: Shape, comparer: Comparer) -> bool:
    is_vector = matrix.width == 1 or matrix.width == len(matrix.parts)
    return is_vector and _ordered(matrix, pair, comparer)


def _equations(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return comparer.relations(_sides(gold), _sides(answer), positive=False)


def _sides(shape: Shape) -> tuple[str, str]:
    return (shape.label or "", shape.parts[0]) if shape.kind == "scalar" else shape.parts


def _inequalities(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    return gold.open == answer.open and comparer.relations(gold.parts, answer.parts, positive=True)


def _ray_as_inequality(one: Shape, other: Shape, comparer: Comparer) -> bool:
    """`x < 5` next to `-x > -5`."""
    ray, inequality = (one, other) if one.kind == "interval" else (other, one)
    ends = [part.parts[0] if part.kind == "scalar" else "" for part in ray.parts]
    infinite = [INFINITY in end for end in ends]
    if ray.label is None or sum(infinite) != 1 or not all(ends):
        return False
    sides = (ray.label, ends[1]) if infinite[0] else (ends[0], ray.label)
    strict = ray.open[1] if infinite[0] else ray.open[0]
    return strict == inequality.open[0] and comparer.relations(sides, inequality.parts, positive=True)


def _equation_for_value(one: Shape, other: Shape, comparer: Comparer) -> bool:
    """`12 * 3 = 36` states 36, provided that it is true and both sides are numbers."""
    equation, scalar = (one, other) if one.kind == "equation" else (other, one)
    left, right = (exact(side) for side in equation.parts)
    if left is None or left != right:
        comparer.detail = "equation instead of a value"
        return False
    return comparer.scalars(scalar.parts[0], equation.parts[1])


def _single(one: Shape, other: Shape, comparer: Comparer) -> bool:
    """A set of one element, for the element."""
    group, scalar = (one, other) if one.kind == "set" else (other, one)
    return len(group.parts) == 1 and same(group.parts[0], scalar, comparer)


def _texts(gold: Shape, answer: Shape, comparer: Comparer) -> bool:
    comparer.detail = "text"
    return [p.replace(" ", "") for p in gold.parts] == [p.replace(" ", "") for p in answer.parts]


_HANDLERS = {
    ("scalar", "scalar"): _scalars,
    ("labelled", "scalar"): _scalars,
    ("labelled", "labelled"): _scalars,
    ("labelled", "equation"): _equations,
    ("equation", "equation"): _equations,
    ("equation", "scalar"): _equation_for_value,
    ("inequality", "inequality"): _inequalities,
    ("set", "set"): _unordered,
    ("set", "list"): _set_and_list,
    ("set", "scalar"): _single,
    ("set", "labelled"): _single,
    ("list", "list"): _lists,
    ("list", "tuple"): _ordered,
    ("tuple", "tuple"): _ordered,
    ("tuple", "interval"): _pair_as_interval,
    ("interval", "interval"): _intervals,
    ("interval", "union"): _unions,
    ("interval", "inequality"): _ray_as_inequality,
    ("range", "range"): _ordered,
    ("union", "tuple"): _unions,
    ("union", "union"): _unions,
    ("union", "set"): _unions,
    ("matrix", "matrix"): _matrices,
    ("matrix", "tuple"): _vector,
    ("other", "other"): _texts,
}


def _swapped(pair: tuple[str, str]):
    handler = _HANDLERS.get((pair[1], pair[0]))
    if handler is _vector:
        return lambda gold, answer, comparer: _vector(answer, gold, comparer)
    return handler
