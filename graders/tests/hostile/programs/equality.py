"""Objects that claim to be equal to everything."""

_CLASS = "class X{base}:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
_HASH = "    def __hash__(self): return 7\n"


def _always(base: str, value: str, extra: str = "") -> str:
    return _CLASS.format(base=base) + _HASH + extra + f"def solve(a, b):\n    return {value}"


PROGRAMS = {
    "plain_eq": _always("", "X()"),
    "int_eq": _always("(int)", "X(1000)"),
    "float_eq": _always("(float)", "X(0.5)"),
    "str_eq": _always("(str)", "X('7')"),
    "list_eq": _always("(list)", "X([7])"),
    "tuple_eq": _always("(tuple)", "X((7,))"),
    "dict_eq": _always("(dict)", "X(a=7)"),
    "complex_eq": _always("(complex)", "X(1j)"),
    "bytes_eq": _always("(bytes)", "X(b'7')"),
    "int_eq_in_list": _always("(int)", "[X(1)]"),
    "int_bool": _always("(int)", "X(0)", "    def __bool__(self): return True\n"),
    "int_arithmetic": _always(
        "(int)",
        "X(1000)",
        "    def __add__(self, o): return 7\n    __radd__ = __sub__ = __rsub__ = __add__\n    def __index__(self): return 7\n"
        "    def __int__(self): return 7\n",
    ),
    "int_format": _always(
        "(int)", "X(1 << 70)", "    def __format__(self, spec): return '7'\n    def __str__(self): return '7'\n"
    ),
    "float_hex": _always("(float)", "X(1.5)", "    def __repr__(self): return '7'\n    def hex(self): return '0x1.cp+2'\n"),
    "class_property": _always("", "X()", "    @property\n    def __class__(self): return int\n"),
    "reduce": _always(
        "", "X()", "    def __reduce__(self): return (int, (7,))\n    def __reduce_ex__(self, p): return (int, (7,))\n"
    ),
    "getattribute": _always("", "X()", "    def __getattribute__(self, name): return lambda *a: True\n"),
    "instancecheck": (
        "class M(type):\n    def __instancecheck__(c, o): return True\n    def __subclasscheck__(c, o): return True\n"
        "    def __eq__(c, o): return True\n    def __hash__(c): return hash(int)\nclass X(metaclass=M): pass\n"
        "def solve(a, b): return X()"
    ),
    "callable_class": "class solve:\n    def __init__(self, a, b): pass\n    def __eq__(self, o): return True\n    __hash__ = None",
    "int_subclass_new": "class solve(int):\n    def __new__(cls, a, b): return int.__new__(cls, 99)\n    def __eq__(self, o): return True",
    "callable_instance": (
        "class C:\n    def __call__(self, a, b): return self\n    def __eq__(self, o): return True\nsolve = C()"
    ),
    "nan": "def solve(a, b): return float('nan')",
    "infinity": "def solve(a, b): return float('inf')",
    "none": "def solve(a, b): return None",
    "not_implemented": "def solve(a, b): return NotImplemented",
    "ellipsis": "def solve(a, b): return ...",
    "text_of_number": "def solve(a, b): return str(a + b)",
    "wrapped": "def solve(a, b): return [a + b]",
    "decimal_zero": "from decimal import Decimal\ndef solve(a, b): return Decimal('sNaN')",
    "mock": "from unittest.mock import ANY\ndef solve(a, b): return ANY",
    "enum": "from enum import IntEnum\nclass E(IntEnum):\n    X = 1\n    def __eq__(self, o): return True\ndef solve(a, b): return E.X",
    "generator": "def solve(a, b):\n    yield a + b",
    "coroutine": "async def solve(a, b):\n    return a + b",
    "function": "def solve(a, b): return lambda: a + b",
    "check_int_eq": _always("(int)", "X(1000)"),
    "check_plain_eq": _always("", "X()"),
    "check_nan": "def solve(a, b): return float('nan')",
    "judged_equal": "class X:\n    def __eq__(self, other): return True\ndef solve(a, b): return X()",
    "judged_not_unequal": (
        "class X:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\ndef solve(a, b): return X()"
    ),
    "judged_number": (
        "class X(float):\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __sub__(self, other): return X(0)\n    def __abs__(self): return 0\ndef solve(a, b): return X(0)"
    ),
    "judged_every_way": (
        "import sys\nclass X:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
        "    def __sub__(self, other): return self\n    def __abs__(self): return 0\n"
        "class math: isclose = staticmethod(lambda *a, **k: True)\nsys.modules['math'] = math\n"
        "def isinstance(*a): return True\ndef solve(a, b): return X()"
    ),
    "judged_functions": "def isinstance(*a): return True\nabs = round = int = isinstance\ndef solve(a, b): return 0",
    "judged_builtins": "import builtins\nbuiltins.isinstance = builtins.abs = lambda *a: True\ndef solve(a, b): return 0",
    "judged_module": (
        "import sys\nclass math: isclose = staticmethod(lambda *a, **k: True)\nsys.modules['math'] = math\ndef solve(a, b): return 0"
    ),
    "judged_predicate": "def near(*a): return True\nclass X:\n    __eq__ = near\ndef solve(a, b): return X()",
}
