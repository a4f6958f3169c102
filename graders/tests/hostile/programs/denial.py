"""Denial of service: time, memory, output, threads, descriptors, and results that are a burden to read."""

PROGRAMS = {
    "endless_loop": "def solve(a, b):\n    while True: pass",
    "endless_at_import": "while True: pass",
    "loop_ignoring_signals": (
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        "def solve(a, b):\n    while True: pass"
    ),
    "loop_catching_everything": (
        "def solve(a, b):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"
    ),
    "sleep": "import time\ndef solve(a, b):\n    time.sleep(1000)",
    "sleep_blocked_signals": (
        "import signal, time\ndef solve(a, b):\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n    time.sleep(1000)"
    ),
    "wait_forever": "import threading\ndef solve(a, b):\n    threading.Event().wait()",
    "stop_self": "import os, signal\ndef solve(a, b):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    return 0",
    "read_own_pipe": "import os\ndef solve(a, b):\n    r, w = os.pipe()\n    os.read(r, 1)",
    "regex_bomb": "import re\ndef solve(a, b):\n    return bool(re.match('(a+)+$', 'a' * 64 + 'b'))",
    "power_tower": "def solve(a, b):\n    return 9 ** 9 ** 9",
    "big_shift": "def solve(a, b):\n    return 1 << (1 << 40)",
    "big_factorial": "import math\ndef solve(a, b):\n    return math.factorial(10 ** 7)",
    "big_int_result": "def solve(a, b):\n    return 10 ** 1000000",
    "huge_int_result": "def solve(a, b):\n    return 1 << 60_000_000",
    "int_to_text": "import sys\nsys.set_int_max_str_digits(0)\ndef solve(a, b):\n    return len(str(7 ** 3000000))",
    "memory_bytearray": "def solve(a, b):\n    return len(bytearray(1 << 34))",
    "memory_touched": "def solve(a, b):\n    hold = []\n    while True: hold.append(bytearray(1 << 20))",
    "memory_list": "def solve(a, b):\n    hold = [0]\n    while True: hold += hold",
    "memory_caught": (
        "def solve(a, b):\n    hold = []\n    while True:\n        try: hold.append(' ' * (1 << 20))\n        except MemoryError: pass"
    ),
    "memory_mmap": "import mmap\ndef solve(a, b):\n    return len([mmap.mmap(-1, 1 << 30) for _ in range(64)])",
    "memory_memfd": ("import os\ndef solve(a, b):\n    fd = os.memfd_create('x')\n    while True: os.write(fd, bytes(1 << 20))"),
    "memory_shm": ("def solve(a, b):\n    f = open('/dev/shm/@TOKEN@-fill', 'wb')\n    while True: f.write(bytes(1 << 20))"),
    "memory_pipes": (
        "import os, fcntl\ndef solve(a, b):\n    n = 0\n    while True:\n        r, w = os.pipe()\n"
        "        n += fcntl.fcntl(w, 1031, 1 << 24)\n        os.write(w, bytes(1 << 24))"
    ),
    "fork_bomb": "import os\ndef solve(a, b):\n    while True: os.fork()",
    "fork_bomb_libc": "import ctypes\ndef solve(a, b):\n    libc = ctypes.CDLL(None)\n    while libc.fork() >= 0: pass\n    return 0",
    "fork_syscall": "import ctypes\ndef solve(a, b):\n    return ctypes.CDLL(None).syscall(57)",
    "vfork_syscall": "import ctypes\ndef solve(a, b):\n    return ctypes.CDLL(None).syscall(58)",
    "clone_syscall": "import ctypes\ndef solve(a, b):\n    return ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)",
    "clone3_syscall": (
        "import ctypes\ndef solve(a, b):\n    buffer = ctypes.create_string_buffer(88)\n"
        "    return ctypes.CDLL(None).syscall(435, buffer, 88)"
    ),
    "thread_bomb": (
        "import threading, time\nthreading.stack_size(32768)\ndef solve(a, b):\n    while True:\n"
        "        try: threading.Thread(target=time.sleep, args=(100,)).start()\n        except RuntimeError: pass"
    ),
    "descriptor_exhaustion": "import os\ndef solve(a, b):\n    return len([os.open('/dev/null', os.O_RDONLY) for _ in range(100000)])",
    "disk_fill": "def solve(a, b):\n    f = open('@FOLDER@/fill', 'wb')\n    while True: f.write(bytes(1 << 20))",
    "stdout_flood": "def solve(a, b):\n    while True: print('x' * 65536)",
    "stderr_flood": "import sys\ndef solve(a, b):\n    while True: sys.stderr.write('x' * 65536)",
    "flood_caught": "def solve(a, b):\n    while True:\n        try: print('x' * 65536, flush=True)\n        except OSError: pass",
    "channel_flood": "import os\ndef solve(a, b):\n    while True: os.write(3, b'x' * 65536)",
    "deep_result": "def solve(a, b):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
    "self_reference": "def solve(a, b):\n    x = []\n    x.append(x)\n    return x",
    "self_reference_dict": "def solve(a, b):\n    x = {}\n    x['x'] = x\n    return x",
    "doubling_result": "def solve(a, b):\n    x = [1]\n    for _ in range(60): x = [x, x]\n    return x",
    "wide_result": "def solve(a, b):\n    return [0] * 30_000_000",
    "long_text_result": "def solve(a, b):\n    return 'x' * 100_000_000",
    "endless_generator": "def solve(a, b):\n    return iter(int, 1)",
    "endless_list_subclass": "class L(list):\n    def __iter__(self):\n        while True: yield 1\ndef solve(a, b): return L([1])",
    "endless_keys": "class D(dict):\n    def items(self):\n        while True: yield (1, 1)\ndef solve(a, b): return D(a=1)",
    "range_result": "def solve(a, b):\n    return range(10 ** 12)",
    "slow_str": "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef solve(a, b): raise E",
    "long_error": "def solve(a, b):\n    raise ValueError('x' * 50_000_000)",
    "recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef solve(a, b): return solve(a, b)",
    "c_recursion": "def solve(a, b):\n    x = ()\n    for _ in range(10 ** 6): x = (x,)\n    return hash(x) * 0",
    "deep_source": "solve = " + "(" * 3000 + "0" + ")" * 3000,
    "long_source": "x = [" + "0," * 50000 + "]\ndef solve(a, b): return x",
    "null_in_source": "def solve(a, b): return a + b\n\0",
    "surrogate_in_result": "def solve(a, b): return chr(0xD800)",
    "stdio_endless": "while True: pass",
    "stdio_flood": "while True: print('7')",
    "stdio_sleep": "import time\nprint(7, flush=True)\ntime.sleep(1000)",
    "stdio_reads_forever": "import sys\nwhile True: sys.stdin.read()",
    "stdio_closed_output": "import os\nos.close(1)\nwhile True: pass",
    "stdio_thread_holds": "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
    "stdio_exit_hook_loops": "import atexit\ndef f():\n    while True: pass\natexit.register(f)",
    "number_beyond_floats": "def solve(a, b):\n    return 10 ** 400",
    "many_messages": "import os\nos.write(3, b'[1]\\n' * 2_000_000)\ndef solve(a, b): return 0",
    "wide_message": "import os\ndef solve(a, b):\n    os.write(3, b'[0,\"v\",[' + b'[],' * 2_700_000 + b'1]]\\n')\n    os._exit(0)",
    "stdio_line_ends": "import os\nos.write(1, b'\\n' * 8_300_000)",
    "stdio_error_lines": "import os\nos.write(2, b'ab\\n' * 2_700_000)\nos._exit(1)",
    "stdio_flood_below_the_limit": "print('x' * 8_300_000)",
    "check_many_messages": "import os\nos.write(3, b'[1]\\n' * 2_000_000)\ndef solve(a, b): return a + b",
    "check_endless": "def solve(a, b):\n    while True: pass",
    "check_memory": "def solve(a, b):\n    hold = []\n    while True: hold.append(bytearray(1 << 20))",
    "check_long_answer": "def solve(a, b):\n    return [0] * 30_000_000",
}
