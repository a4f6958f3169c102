"""Wrong answers without any trick, which a harness must not let pass by a mistake of its own."""

PROGRAMS = {
    "off_by_one": "def solve(a, b): return a + b + 1",
    "first_case_only": "def solve(a, b): return 7",
    "last_case_wrong": "def solve(a, b): return a + b if a > -5 else 0",
    "no_entry": "def solution(a, b): return a + b",
    "entry_is_a_value": "solve = 7",
    "empty": "",
    "syntax_error": "def solve(a, b) return a + b",
    "prints_instead": "def solve(a, b): print(a + b)",
    "wrong_arity": "def solve(a): return a",
    "mutable_default": "def solve(a, b, seen=[]):\n    seen.append(a)\n    return a + b + len(seen) - 1",
    "bool_for_int": "def solve(a, b): return (a + b) == 7",
    "skip_by_exception": "import unittest\ndef solve(a, b): raise unittest.SkipTest('x')",
    "stdio_wrong": "a, b = map(int, input().split())\nprint(a - b)",
    "stdio_missing_line": "",
    "check_wrong": "def solve(a, b): return a - b",
    "check_last_wrong": "def solve(a, b): return a + b if a > -5 else 0",
}
