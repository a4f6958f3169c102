r"""A strict reader of formulas: it either understands every character of a formula or says why not, and never guesses.

Lenient readers are how graders get fooled: one that skips what it does not know reads `4\sqrt(2)` as 4. The grammar
here is what final answers are made of: numbers, + - * / ^ ! %, implicit products, \frac, \sqrt, \binom, |x|,
elementary functions, pi, e, i and variables. `Unsupported` marks formulas of a larger grammar (sums, integrals, …)
that math-verify may read; `Malformed` marks text that nobody should read.
"""

import re
from fractions import Fraction

from rlvr_graders.math.numbers import read_atom
from rlvr_graders.math.tree import (
    Binomial,
    Constant,
    DoubleFactorial,
    Factorial,
    Function,
    Logarithm,
    Negative,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Root,
    Sum,
    Variable,
)
from rlvr_graders.math.vocabulary import ALIASES, BEYOND, FUNCTIONS, GREEK, INVERSE, NOT_PRODUCTS

MAX_DEPTH = 40
MAX_OPERATIONS = 150
"""A final answer with more operations than this is not parsed; it also bounds recursion over the tree."""


class Malformed(ValueError):
    """Not a formula."""


class Unsupported(ValueError):
    """A formula beyond this grammar."""


_COMMAND = re.compile(r"\\([A-Za-z]+)")
_LETTERS = re.compile(r"[A-Za-z]+")
_DEGREES = re.compile(r" ?degrees(?![A-Za-z])")
_SUBSCRIPT = re.compile(r" ?_ ?(?:\{ ?([A-Za-z0-9, +-]{1,12}) ?\}|([A-Za-z0-9]))")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth, self.bars, self.size, self.functions = text, 0, 0, 0, 0, 0

    def grow(self) -> None:
        self.size += 1
        if self.size > MAX_OPERATIONS:
            raise Malformed("too many operations")

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at] == " ":
            self.at += 1
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self, char: str) -> bool:
        if self.peek() == char:
            self.at += 1
            return True
        return False

    def need(self, char: str) -> None:
        if not self.take(char):
            raise Malformed(f"expected {char!r} at position {self.at}")

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        left = self.product()
        while self.peek() in ("+", "-"):
            sign = self.text[self.at]
            self.at += 1
            self.grow()
            right = self.product()
            left = Sum(left, right if sign == "+" else Negative(right))
        self.depth -= 1
        return left

    def product(self) -> Node:
        left = self.signed()
        while True:
            char = self.peek()
            self.grow()
            if char in ("*", "/"):
                self.at += 1
                left = (Product if char == "*" else Quotient)(left, self.signed())
            elif self.starts_atom(char):
                # `7 7` and `x2` are no products, but `3!2!`, `(1+2)3` and `2^x 3^x` are.
                if (char.isdigit() or char == ".") and not self.may_precede_number():
                    raise Malformed("a number after another factor")
                left = Product(left, self.power())
            else:
                return left

    def may_precede_number(self) -> bool:
        before = self.text[: self.at]
        last = before.rstrip()[-1:]
        return last in ("!", ")") or (before.endswith(" ") and not last.isdigit() and last != ".")

    def starts_atom(self, char: str) -> bool:
        if char == "|":
            return self.bars == 0
        if char == "\\":
            command = _COMMAND.match(self.text, self.at)
            return command is not None and command.group(1) not in ("right",)
        return bool(char) and (char.isalnum() or char in "([{.")

    def signed(self) -> Node:
        sign, count = 1, 0
        while self.peek() in ("+", "-"):
            sign = -sign if self.text[self.at] == "-" else sign
            self.at += 1
            count += 1
            if count > 2:
                raise Malformed("a row of signs")
        node = self.power()
        return Negative(node) if sign < 0 else node

    def power(self) -> Node:
        base = self.postfix(self.atom())
        if self.take("^"):
            return Power(base, self.exponent())
        return base

    def exponent(self) -> Node:
        if self.peek() == "{":
            return self.group("{", "}")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        node = self.signed()
        self.depth -= 1
        return node

    def postfix(self, node: Node) -> Node:
        while self.peek() in ("!", "%") or (self.functions and _DEGREES.match(self.text, self.at)):
            if degrees := _DEGREES.match(self.text, self.at):
                self.at = degrees.end()
                return Product(node, Quotient(Constant("pi"), Number(Fraction(180))))
            if self.text.startswith("!!", self.at):
                node, self.at = DoubleFactorial(node), self.at + 2
                continue
            self.grow()
            node = Factorial(node) if self.text[self.at] == "!" else Quotient(node, Number(Fraction(100)))
            self.at += 1
        return node

    def group(self, opening: str, closing: str) -> Node:
        self.need(opening)
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        self.need(closing)
        return node

    def atom(self) -> Node:
        char = self.peek()
        if char in ("(", "[", "{"):
            return self.group(char, {"(": ")", "[": "]", "{": "}"}[char])
        if char == "|":
            self.at += 1
            self.bars += 1
            node = self.sum()
            self.bars -= 1
            self.need("|")
            return Function("abs", node)
        if char.isascii() and (char.isdigit() or char == "."):
            number = read_atom(self.text, self.at)
            if number is None:
                raise Malformed("a number that cannot be read")
            self.at = number[1]
            if self.text.startswith(("\\ldots", " \\ldots"), self.at):
                raise Malformed("a number that goes on")
            return Number(number[0])
        if char == "\\":
            return self.command()
        if char.isascii() and char.isalpha():
            return self.letters()
        raise Malformed(f"unexpected {char!r}" if char else "the end came too early")

    def command(self) -> Node:
        match = _COMMAND.match(self.text, self.at)
        if match is None:
            raise Malformed("a stray backslash")
        name = match.group(1)
        if name in FUNCTIONS:
            self.at = match.end()
            return self.function(name)
        if name in ("frac", "binom"):
            self.at = match.end()
            first, second = self.group("{", "}"), self.group("{", "}")
            return (Quotient if name == "frac" else Binomial)(first, second)
        if name == "sqrt":
            self.at = match.end()
            index: Node = Number(Fraction(2))
            if self.peek() == "[":
                index = self.group("[", "]")
            return Root(self.group("{", "}"), index)
        if name == "pi":
            self.at = match.end()
            return Constant("pi")
        if name in GREEK:
            self.at = match.end()
            return Variable("\\" + name + self.subscript())
        if name in BEYOND:
            raise Unsupported(f"\\{name}")
        raise Malformed(f"unknown command \\{name}")

    def subscript(self) -> str:
        match = _SUBSCRIPT.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return "_" + (match.group(1) or match.group(2)).replace(" ", "")

    def letters(self) -> Node:
        match = _LETTERS.match(self.text, self.at)
        assert match is not None
        word = match.group()
        if word in FUNCTIONS:
            self.at = match.end()
            return self.function(word)
        if word == "pi":
            self.at = match.end()
            return Constant("pi")
        # `abc/2` is a product, but `yes` and `red box` without any sign are words, and no anagram of them is right.
        alone = len(word) == 3 and self.text.replace(" ", "").isalpha()
        if len(word) > 3 or alone or word.lower() in NOT_PRODUCTS:
            raise Malformed(f"the word {word!r}")
        self.at += 1  # letter by letter, so that `xy^2` is x·y²
        letter = word[0]
        if letter in "ei" and not (len(word) == 1 and self.text[self.at : self.at + 1] == "_"):
            return _letter(letter)
        return Variable(letter + (self.subscript() if len(word) == 1 else ""))

    def function(self, name: str) -> Node:
        name = ALIASES.get(name, name)
        base: Node | None = None
        if name == "log":
            base = Number(Fraction(10))
            if self.take("_"):
                base = self.group("{", "}") if self.peek() == "{" else self.atom_short()
        power: Node | None = None
        if self.take("^"):
            power = self.exponent_short()
            if power == Negative(Number(Fraction(1))) and name in INVERSE:
                name, power = INVERSE[name], None
        self.functions += 1  # inside an argument, degrees are a factor; outside, they are a unit
        argument = self.postfix(self.atom()) if self.peek() in ("(", "{", "[") else self.bare_argument()
        self.functions -= 1
        node = Logarithm(argument, base) if base is not None else Function(name, argument)
        return Power(node, power) if power is not None else node

    def atom_short(self) -> Node:
        char = self.peek()
        if not (char.isascii() and char.isalnum()):
            raise Malformed("the base of a logarithm")
        self.at += 1
        return Number(Fraction(char)) if char.isdigit() else _letter(char)

    def exponent_short(self) -> Node:
        if self.peek() == "{":
            return self.group("{", "}")
        sign = self.take("-")
        node = self.atom_short()
        return Negative(node) if sign else node

    def bare_argument(self) -> Node:
        node = self.signed()
        while True:
            char = self.peek()
            command = _COMMAND.match(self.text, self.at) if char == "\\" else None
            word = _LETTERS.match(self.text, self.at)
            if (command and command.group(1) in FUNCTIONS) or (word and word.group() in FUNCTIONS):
                return node
            if not self.starts_atom(char) or char in "([" or char.isdigit():
                return node
            self.grow()
            node = Product(node, self.power())


def _letter(letter: str) -> Node:
    return Constant("e") if letter == "e" else Constant("i") if letter == "i" else Variable(letter)


def parse_expression(text: str) -> Node:
    """The tree of a normalised formula.

    Raises:
        Malformed, Unsupported: See the module.
    """
    parser = _Parser(text)
    try:
        node = parser.sum()
    except RecursionError:
        raise Malformed("nested too deeply") from None
    if parser.peek():
        rest = text[parser.at :]
        command = _COMMAND.match(rest)
        if command and command.group(1) in BEYOND:
            raise Unsupported(command.group())
        raise Malformed(f"{rest[:20]!r} is left over")
    return node
