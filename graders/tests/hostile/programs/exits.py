"""Leaving before the verdict, in the hope that silence or an exit code counts as success."""

PROGRAMS = {
    "sys_exit": "import sys\ndef solve(a, b):\n    sys.exit(0)",
    "sys_exit_at_import": "import sys\nsys.exit(0)\ndef solve(a, b): return 0",
    "os_exit": "import os\ndef solve(a, b):\n    os._exit(0)",
    "os_exit_at_import": "import os\nos._exit(0)",
    "posix_exit": "import posix\ndef solve(a, b):\n    posix._exit(0)",
    "system_exit": "def solve(a, b):\n    raise SystemExit",
    "system_exit_zero": "raise SystemExit(0)",
    "quit": "def solve(a, b):\n    quit()",
    "keyboard_interrupt": "def solve(a, b):\n    raise KeyboardInterrupt",
    "generator_exit": "def solve(a, b):\n    raise GeneratorExit",
    "base_exception": "class Done(BaseException): pass\ndef solve(a, b):\n    raise Done",
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef solve(a, b): return 0",
    "excepthook": "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef solve(a, b): raise ValueError",
    "exit_in_thread": (
        "import threading, os, time\nthreading.Thread(target=lambda: os._exit(0)).start()\n"
        "def solve(a, b):\n    time.sleep(0.2)\n    return 0"
    ),
    "exit_after_first": (
        "import os\ncount = 0\ndef solve(a, b):\n    global count\n    count += 1\n"
        "    if count > 1: os._exit(0)\n    return a + b"
    ),
    "libc_exit": "import ctypes\ndef solve(a, b):\n    ctypes.CDLL(None)._exit(0)",
    "libc_exit_group": "import ctypes\ndef solve(a, b):\n    ctypes.CDLL(None).syscall(231, 0)",
    "kill_self": "import os, signal\ndef solve(a, b):\n    os.kill(os.getpid(), signal.SIGKILL)",
    "terminate_self": "import os, signal\ndef solve(a, b):\n    os.kill(os.getpid(), signal.SIGTERM)",
    "abort": "import os\ndef solve(a, b):\n    os.abort()",
    "segfault": "import ctypes\ndef solve(a, b):\n    return ctypes.string_at(0)",
    "fake_time_limit": "import os, signal\ndef solve(a, b):\n    os.kill(os.getpid(), signal.SIGXCPU)",
    "exit_in_del": "import os\nclass X:\n    def __del__(self): os._exit(0)\ndef solve(a, b):\n    X()\n    return 0",
    "exit_in_repr": "import os\nclass X:\n    def __repr__(self): os._exit(0)\n    __str__ = __repr__\ndef solve(a, b): return X()",
    "stdio_exit_zero": "import sys\nsys.exit(0)",
    "stdio_os_exit": "import os\nos._exit(0)",
    "stdio_print_then_crash": "a, b = map(int, input().split())\nprint(a + b)\nraise RuntimeError",
    "stdio_print_then_exit_one": "import sys\na, b = map(int, input().split())\nprint(a + b)\nsys.exit(1)",
    "stdio_atexit_code": "import atexit, os\natexit.register(lambda: os._exit(0))",
    "check_os_exit": "import os\ndef solve(a, b):\n    os._exit(0)",
    "check_exit_at_import": "import os\nos._exit(0)",
    "check_system_exit": "def solve(a, b):\n    raise SystemExit(0)",
    "check_stop_iteration": "def solve(a, b):\n    raise StopIteration",
    "check_assertion_error": "def solve(a, b):\n    raise AssertionError",
    "check_kill_test_process": "import os, signal\ndef solve(a, b):\n    for p in range(os.getpid() - 5, os.getpid() + 6):\n"
    "        try: os.kill(p, signal.SIGKILL)\n        except OSError: pass\n    return 0",
}
