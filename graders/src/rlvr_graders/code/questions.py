"""Which expressions of a test may be evaluated beside the program: those that ask it something and decide nothing.

What a program says is data, and compared outside. An expression that compares, or that hands a result of the program to a
function together with other values (`isclose(f(1), 3)`), carries what is expected into the program's own namespace, where
`isclose`, `isinstance` and the `__eq__` of the result are the program's to define.
"""

import ast
import builtins
from typing import Any

MODULES = "cmath, collections, datetime, functools, heapq, itertools, math, operator, random, re, string, sys"
"""What a test may take for granted because a reference solution happened to import it."""
_NOT_THE_PROGRAMS = frozenset(dir(builtins)) | frozenset(MODULES.split(", "))


def asks(expression: ast.expr, expected: Any, setup: str = "", entry: str = "") -> bool:
    """Whether an expression is one call of the program, with nothing around it that judges the result.

    Around the call may stand attributes, and, unless a truth value is expected, literal subscripts and built-in functions of
    one argument (`list(f(x))`): a program that replaces these still has to know the answer. The arguments of the call are
    made of data and of new objects (by convention, a class has a capital letter), not of other results of the program. A
    variable of the set-up may stand for the call.
    """
    tree = ast.parse(setup)
    functions, variables = _bound(tree)
    foreign = (_NOT_THE_PROGRAMS | functions) - {entry}
    node = expression
    while inner := _inside(node, entry, unwrap=type(expected) is not bool):
        node = inner
    if isinstance(node, ast.Name):
        return node.id not in foreign and not compares(tree)
    if not isinstance(node, ast.Call):
        return False
    parts = [*node.args, *(keyword.value for keyword in node.keywords)]
    if isinstance(node.func, ast.Name):
        ours = node.func.id not in foreign | variables
    elif isinstance(node.func, ast.Attribute):
        receiver = node.func.value
        ours = _makes_an_object(receiver) or (isinstance(receiver, ast.Name) and receiver.id not in foreign)
        parts.append(receiver)
    else:
        return False
    calls = [part for tree in parts for part in ast.walk(tree) if isinstance(part, ast.Call)]
    return ours and all(_makes_an_object(call) or _root(call.func) in foreign for call in calls)


def entry_of(assertions: list[str], setup: str = "") -> str:
    """The function that assertions test: the first name called that is nobody else's, or else the first one; "" for none."""
    functions, variables = _bound(ast.parse(setup))
    calls = [node for line in assertions for node in ast.walk(ast.parse(line.strip())) if isinstance(node, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    return next((name for name in names if name not in _NOT_THE_PROGRAMS | functions | variables), names[0] if names else "")


def compares(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Compare) for node in ast.walk(tree))


def _inside(node: ast.expr, entry: str, *, unwrap: bool) -> ast.expr | None:
    if isinstance(node, ast.Attribute):
        return node.value
    if unwrap and isinstance(node, ast.Subscript) and _literal(node.slice):
        return node.value
    if not unwrap or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    wraps = hasattr(builtins, node.func.id) and node.func.id != entry
    alone = len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred)
    return node.args[0] if wraps and alone else None


def _literal(node: ast.expr) -> bool:
    parts = [node.lower, node.upper, node.step] if isinstance(node, ast.Slice) else [node]
    try:
        return all(part is None or [ast.literal_eval(part)] for part in parts)
    except ValueError:
        return False


def _makes_an_object(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id[:1].isupper()


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _bound(setup: ast.AST) -> tuple[set[str], set[str]]:
    """Names that a set-up defines or imports, and names that it assigns."""
    functions: set[str] = set()
    variables: set[str] = set()
    for node in ast.walk(setup):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            functions.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            functions |= {(name.asname or name.name).split(".")[0] for name in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            variables.add(node.id)
    return functions, variables
