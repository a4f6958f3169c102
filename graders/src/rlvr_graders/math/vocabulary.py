"""The words of formulas: what our strict grammar reads, and what lies beyond it but may be read by math-verify."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words("sin cos tan cot sec csc arcsin arccos arctan asin acos atan sinh cosh tanh ln log exp abs")
"""Functions of one argument, with or without a backslash; `log` has base 10 unless a base is written."""

ALIASES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
"""What a power of -1 on a function's name makes of it."""

GREEK = _words(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
)

NOT_PRODUCTS = _words("or and not the is if nan inf to of no up am pm it at on in by an as we he us")
"""Short words that are not products of variables."""

BEYOND = _words(
    "int iint sum prod lim limsup liminf lfloor rfloor lceil rceil max min gcd lcm det overline vec hat bar ldots dots "
    "cdots begin end mod bmod pmod partial infty lg cup cap setminus in mid mathbb to rightarrow prime langle rangle "
    "sup inf deg dim ker perp parallel angle triangle"
)
"""Commands that make a formula `Unsupported` rather than `Malformed`."""
