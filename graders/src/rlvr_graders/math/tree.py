"""Formulas as trees of small immutable nodes: what `expressions` reads and `exact_value` and `precision` compute."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


class Node:
    """One part of a formula. Leaves are `Number`, `Constant` and `Variable`; everything else has operands."""

    __slots__ = ()

    def operands(self) -> tuple["Node", ...]:
        """The nodes directly below this one, in order."""
        return ()

    def with_operands(self, *operands: "Node") -> "Node":
        """The same operation on other operands."""
        return self


@dataclass(frozen=True, slots=True)
class Number(Node):
    value: Fraction


@dataclass(frozen=True, slots=True)
class Constant(Node):
    name: Literal["pi", "e", "i"]


@dataclass(frozen=True, slots=True)
class Variable(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Function(Node):
    """An elementary function of one argument; logarithms to a base are `Logarithm`."""

    name: str
    argument: Node

    def operands(self) -> tuple[Node, ...]:
        return (self.argument,)

    def with_operands(self, *operands: Node) -> Node:
        return Function(self.name, *operands)


@dataclass(frozen=True, slots=True)
class Unary(Node):
    operand: Node

    def operands(self) -> tuple[Node, ...]:
        return (self.operand,)

    def with_operands(self, *operands: Node) -> Node:
        return type(self)(*operands)


class Negative(Unary):
    __slots__ = ()


class Factorial(Unary):
    __slots__ = ()


class DoubleFactorial(Unary):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Binary(Node):
    left: Node
    right: Node

    def operands(self) -> tuple[Node, ...]:
        return (self.left, self.right)

    def with_operands(self, *operands: Node) -> Node:
        return type(self)(*operands)


class Sum(Binary):
    __slots__ = ()


class Product(Binary):
    __slots__ = ()


class Quotient(Binary):
    __slots__ = ()


class Power(Binary):
    """Base and exponent."""

    __slots__ = ()


class Root(Binary):
    """Radicand and index."""

    __slots__ = ()


class Logarithm(Binary):
    """Argument and base."""

    __slots__ = ()


class Binomial(Binary):
    """n and k of "n choose k"."""

    __slots__ = ()
