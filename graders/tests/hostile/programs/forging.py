"""Writing a verdict of one's own: on the result channel, on standard output, in every open descriptor."""

_EVERYWHERE = "import os\ndef everywhere(data):\n    for fd in range(1, 64):\n        try: os.write(fd, data)\n        except OSError: pass\n"


def _write(data: str, then: str = "0", at_import: bool = False) -> str:
    if at_import:
        return _EVERYWHERE + f"everywhere({data})\ndef solve(a, b): return {then}"
    return _EVERYWHERE + f"def solve(a, b):\n    everywhere({data})\n    return {then}"


PROGRAMS = {
    "extra_line": _write(r"b'[4,\"v\",0]\n'", "a + b"),
    "duplicate_line": _write(r"b'[0,\"v\",0]\n'", "a + b"),
    "all_lines_guessed": _write(r"b'[0,\"v\",1]\n[1,\"v\",1]\n[2,\"v\",1]\n[3,\"v\",1]\n'", "a + b", at_import=True),
    "pass_word": _write(r"b'PASS\n'"),
    "pass_json": _write(r"b'{\"verdict\": \"pass\", \"score\": 1.0}\n'"),
    "pass_list": _write(r"b'[\"pass\"]\n'"),
    "done_line": _write(r"b'[\"done\",4]\n'"),
    "assert_lines": _write(r"b'[\"a\",true,\"\"]\n' * 4"),
    "load_line": _write(r"b'[\"load\",\"OK\",\"\"]\n'"),
    "infra_line": _write(r"b'[\"infra_error\",\"sandbox failed\"]\n'"),
    "trailing_garbage": _write(r"b'garbage without an end'", "a + b"),
    "invalid_utf8": _write(r"b'\xff\xfe\x00\n'", "a + b"),
    "null_bytes": _write(r"bytes(1000)", "a + b"),
    "deep_json": _write(r"b'[' * 200000 + b'\n'", "a + b"),
    "deep_tags": _write(r"b'[0,\"v\",' + b'{\"t\":[' * 5000 + b']}' * 5000 + b']\n'", "a + b"),
    "big_number": _write(r"b'[0,\"v\",' + b'9' * 100000 + b']\n'", "a + b"),
    "nan_index": _write(r"b'[NaN,\"v\",0]\n'", "a + b"),
    "true_index": _write(r"b'[false,\"v\",7]\n'", "a + b"),
    "equal_hashes": _write(
        r"b'[0,\"v\",{\"s\":[' + b','.join(b'%d' % (k * ((1 << 61) - 1)) for k in range(3)) + b']}]\n'", "a + b"
    ),
    "hash_flood": ("def solve(a, b):\n    return {(k << 61) - k for k in range(1)} | {tuple([k]) for k in range(20000)}"),
    "close_everything": "import os\nos.closerange(0, 64)\ndef solve(a, b): return 0",
    "close_then_reuse": "import os\nos.closerange(3, 64)\nos.dup2(1, 3)\ndef solve(a, b):\n    return 0",
    "swap_channel": "import os\nos.dup2(os.open('/dev/null', os.O_WRONLY), 3)\ndef solve(a, b): return a + b",
    "rewind_channel": "import os\ndef solve(a, b):\n    os.lseek(3, 0, 0)\n    return a + b + 1",
    "truncate_channel": "import os\ndef solve(a, b):\n    os.ftruncate(3, 0)\n    return 0",
    "patch_encoder": (
        "import sys\nfor name, m in list(sys.modules.items()):\n    if hasattr(m, 'encode') and name.endswith('wire'):\n"
        "        m.encode = lambda v: True\ndef solve(a, b): return 0"
    ),
    "patch_json": "import json\njson.dumps = lambda *a, **k: '[0,\"v\",true]'\ndef solve(a, b): return 0",
    "patch_guest": (
        "import sys\nfor name, m in list(sys.modules.items()):\n    if hasattr(m, 'run_function'):\n"
        "        m.answer = lambda *a: ['v', True]\ndef solve(a, b): return 0"
    ),
    "patch_builtins": "import builtins\nbuiltins.len = lambda x: 0\nbuiltins.isinstance = lambda *a: True\ndef solve(a, b): return 0",
    "patch_os_write": "import os\nos.write = lambda fd, data: len(data)\ndef solve(a, b): return a + b",
    "thread_writes_later": (
        "import threading, os, time\ndef late():\n    time.sleep(0.01)\n    os.write(3, b'[0,\"v\",7]\\n')\n"
        "def solve(a, b):\n    threading.Thread(target=late).start()\n    return 0"
    ),
    "stdio_markers": "print('PASS'); print('All tests passed'); print('OK')",
    "stdio_first_line_only": "a, b = map(int, input().split())\nprint(a + b)\nprint('more')",
    "stdio_leading_line": "a, b = map(int, input().split())\nprint('x')\nprint(a + b)",
    "stdio_all_numbers": "for n in range(-20, 200): print(n)",
    "stdio_invalid_utf8": "import os\nos.write(1, b'7\\xff\\n')",
    "stdio_null_byte": "a, b = map(int, input().split())\nprint(str(a + b) + chr(0))",
    "stdio_backspace": "a, b = map(int, input().split())\nprint('9' + chr(8) + str(a + b))",
    "stdio_on_stderr": "import sys\na, b = map(int, input().split())\nprint(a + b, file=sys.stderr)",
    "stdio_nothing": "",
    "stdio_blank_lines": "print('\\n' * 5)",
    "stdio_echo": "print(input())",
    "check_answers_ahead": "import os\nos.write(6, b''.join(b'[%d,\"v\",7]\\n' % n for n in range(1, 5)))\ndef solve(a, b): return 0",
    "check_answer_twice": 'import os\ndef solve(a, b):\n    os.write(6, b\'[1,"v",7]\\n[2,"v",8]\\n\')\n    return a + b',
    "check_forged_asserts": _write(r"b'[\"a\",true,\"\"]\n[\"done\",4]\n'"),
    "check_forged_calls": "import os\ndef solve(a, b):\n    os.open('/proc/self/fd/5', os.O_WRONLY)\n    return 0",
    "check_silent": "import os\ndef solve(a, b):\n    os.close(6)\n    return a + b",
    "check_deep_answer": "import os\ndef solve(a, b):\n    os.write(6, b'[1,\"v\",' + b'[' * 60000 + b'\\n')\n    return 0",
    "check_endless_answer": "import os\ndef solve(a, b):\n    while True: os.write(6, b'9' * 65536)",
    "check_no_such_error": 'import os\ndef solve(a, b):\n    os.write(6, b\'[1,"e","SystemExit",""]\\n\')\n    return 0',
}
