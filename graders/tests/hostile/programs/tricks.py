"""What a policy may come to after the obvious: late output, poisoned modules, odd calls of the kernel, state that outlives a job.

A program that manages something forbidden returns "managed", which the runner looks for in the reasons.
"""

from .escape import _try

_SIGNALS = "import os, ctypes, signal\n"


def _syscall(number: int, *arguments: str) -> str:
    return _try(f"libc.syscall({', '.join([str(number), *arguments])})")


PROGRAMS = {
    # Processes and threads that should outlive the answer.
    "vfork_bomb": "import ctypes\nlibc = ctypes.CDLL(None)\ndef solve(a, b):\n    while True: libc.vfork()",
    "clone_without_thread": _try("libc.syscall(56, 0x100, 0, 0, 0, 0)"),
    "clone_into_parent": _try("libc.syscall(56, 0x8000 | 17, 0, 0, 0, 0)"),
    "clone_in_namespaces": _try("libc.syscall(56, 0x10000 | 0x10000000, 0, 0, 0, 0)"),
    "thread_answers_after_return": (
        "import threading, os, sys\ndef late():\n    while True:\n        try: os.write(3, b'[1,\"v\",8]\\n')\n"
        "        except OSError: pass\ndef solve(a, b):\n    threading.Thread(target=late, daemon=True).start()\n    return 0"
    ),
    "pending_alarm": "import signal\nsignal.alarm(1)\ndef solve(a, b):\n    signal.pause()",
    "timer_to_parent": _try("libc.syscall(222, 1, ctypes.create_string_buffer(64), ctypes.create_string_buffer(8))"),
    "dies_in_a_handler": (
        "import os, signal\nsignal.signal(signal.SIGALRM, lambda *_: os._exit(0))\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\n"
        "def solve(a, b):\n    while True: pass"
    ),
    "at_fork_hooks": "import os\nos.register_at_fork(before=lambda: os._exit(0))\ndef solve(a, b):\n    return os.fork() * 0",
    "signal_by_thread_id": _try("libc.syscall(234, os.getppid(), os.getppid(), 9)"),
    "signal_any_nearby": (
        _SIGNALS + "def solve(a, b):\n    hit = []\n    for p in range(max(2, os.getpid() - 40), os.getpid() + 40):\n"
        "        if p != os.getpid():\n            try:\n                os.kill(p, 0)\n                hit.append(p)\n"
        "            except OSError: pass\n    return 'managed' if hit else 'refused'"
    ),
    "pidfd_of_parent": _syscall(434, "os.getppid()", "0"),
    "pidfd_of_itself": _syscall(434, "os.getpid()", "0"),
    "descriptor_of_parent": _syscall(438, "3", "0", "0"),
    "compare_with_parent": _syscall(312, "os.getpid()", "os.getppid()", "0", "0", "1"),
    # Memory that is not one's own, or not counted.
    "exec_from_memory": _try("os.execve(os.memfd_create('x'), ['x'], {})"),
    "secret_memory": _syscall(447, "0"),
    "huge_pages": "import mmap\ndef solve(a, b):\n    return len([mmap.mmap(-1, 1 << 21, flags=0x40022) for _ in range(4096)])",
    "lock_memory": _try("libc.mlockall(7)"),
    "shared_anonymous": "import mmap\ndef solve(a, b):\n    return len([mmap.mmap(-1, 1 << 28) for _ in range(16)])",
    "splice_pages": _syscall(278, "1", "ctypes.create_string_buffer(16)", "1", "8"),
    "move_pages_of_parent": _syscall(279, "os.getppid()", "0", "0", "0", "0", "0"),
    "madvise_parent": _syscall(440, "3", "0", "0", "0", "0"),
    "memory_policy": _syscall(238, "1", "0", "0"),
    "alternate_interpreter_memory": (
        "import ctypes, os\ndef solve(a, b):\n    ctypes.memset(id(os), 255, 64)\n    return os.getpid()"
    ),
    # Interfaces of the kernel.
    "inotify": _syscall(294, "0"),
    "fanotify": _syscall(300, "0", "0"),
    "asynchronous_io": _syscall(206, "8", "ctypes.create_string_buffer(8)"),
    "signal_descriptor": _syscall(289, "-1", "ctypes.create_string_buffer(8)", "8", "0"),
    "timer_descriptor": _syscall(283, "0", "0"),
    "new_mount_interface": _try("max(libc.syscall(n, b'tmpfs', 0, 0, 0, 0) for n in (428, 430, 432))"),
    "pivot_root": _syscall(155, "b'/'", "b'/'"),
    "openat2": _syscall(437, "-100", "b'/etc/passwd'", "ctypes.create_string_buffer(24)", "24"),
    "own_landlock": _syscall(444, "ctypes.create_string_buffer(b'\\1', 8)", "8", "0"),
    "own_filter": _try("libc.prctl(22, 2, 0)"),
    "probe_filter": _try("libc.prctl(21, 0, 0, 0, 0)"),
    "dumpable": _try("libc.prctl(4, 1, 0, 0, 0)"),
    "let_anyone_trace": _try("libc.prctl(0x59616d61, -1, 0, 0, 0)"),
    "keep_capabilities": _try("libc.prctl(8, 1, 0, 0, 0)"),
    "speculation": _try("libc.prctl(53, 0, 1, 0, 0)"),
    "merge_memory": _try("libc.prctl(67, 1, 0, 0, 0)"),
    "core_scheduling": _try("libc.prctl(62, 1, os.getppid(), 1, 0)"),
    "core_dump": (
        "import resource, os\ndef solve(a, b):\n    try: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20))\n"
        "    except (ValueError, OSError): pass\n    os.abort()"
    ),
    "more_descriptors": _try("resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)) or 1", "import resource"),
    "more_output": _try("resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)) or 1", "import resource"),
    "more_time": _try("resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000)) or 1", "import resource"),
    "io_priority": _syscall(251, "1", "0", "0"),
    "scheduling_attributes": _syscall(314, "0", "ctypes.create_string_buffer(56)", "0"),
    "accounting": _syscall(163, "b'/tmp/@TOKEN@'"),
    "quota": _syscall(179, "0", "0", "0", "0"),
    "swap": _syscall(167, "b'/tmp/@TOKEN@'", "0"),
    "modules": _syscall(313, "0", "b''", "0"),
    "port_access": _try("libc.iopl(3)"),
    "local_descriptor_table": _syscall(154, "1", "0", "0"),
    # Sockets and descriptors handed on.
    "pass_a_descriptor": (
        "import socket, array\ndef solve(a, b):\n    x, y = socket.socketpair()\n"
        "    x.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [3]))])\n    return 'managed'"
    ),
    "receive_a_descriptor": "import socket\ndef solve(a, b):\n    x, y = socket.socketpair()\n    x.recvmsg(1, 64)\n    return 'managed'",
    "packet_pair": "import socket\ndef solve(a, b):\n    socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n    return 'managed'",
    "pair_connects_elsewhere": (
        "import socket, ctypes\ndef solve(a, b):\n    x, y = socket.socketpair()\n    x.connect('@FOLDER@/socket')\n    return 'managed'"
    ),
    "pair_binds": (
        "import socket\ndef solve(a, b):\n    x, y = socket.socketpair()\n    x.bind(chr(0) + '@TOKEN@')\n    return 'managed'"
    ),
    "bluetooth_and_crypto": _try("[socket.socket(f, t, 0) for f, t in ((38, 5), (31, 3), (17, 3), (29, 3))]", "import socket"),
    # Files of the harness and of the run.
    "grader_source": _try("open(sys.modules['inside.guest'].__file__).read()", "import sys"),
    "grader_by_loader": _try("sys.modules['inside.wire'].__loader__.get_data(sys.modules['inside.wire'].__file__)", "import sys"),
    "site_packages": _try(
        "[open(d + '/' + n).read() for d, _, ns in os.walk(os.path.dirname(os.__file__) + '/site-packages') for n in ns] or -1",
        "import os",
    ),
    "descriptor_links": _try("any(os.path.lexists('/proc/self/fd/%d' % n) for n in range(4, 64)) or -1", "import os"),
    "thread_self": _try("open('/proc/thread-self/mem', 'rb')"),
    "leave_by_dot_dot": _try("open('/usr/lib/../../etc/passwd').read()"),
    "leave_by_descriptor": _try(
        "os.open('../../../etc/passwd', os.O_RDONLY, dir_fd=os.open('/usr/lib/x86_64-linux-gnu', os.O_RDONLY))"
    ),
    "directory_walk": _try("os.fchdir(os.open('/', os.O_RDONLY | os.O_DIRECTORY)) or 1"),
    "mark_output_file": _try("os.setxattr(1, 'user.@TOKEN@', b'x') or 1"),
    "seal_output_file": _try("fcntl.fcntl(1, 1033, 15)", "import fcntl"),
    "mode_of_output_file": _try("os.fchmod(1, 0o777) or 1"),
    "punch_job_file": _try("libc.fallocate(4, 3, 0, 4096)"),
    "lock_output_file": (
        "import fcntl\ndef solve(a, b):\n    for fd in (1, 2, 3):\n        try: fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "        except OSError: pass\n    return 0"
    ),
    "append_only_output": "import fcntl, os\nfor fd in (1, 2, 3): fcntl.fcntl(fd, 4, os.O_APPEND | os.O_NONBLOCK)\ndef solve(a, b): return 0",
    "sparse_output": "import os\ndef solve(a, b):\n    os.ftruncate(3, 1 << 40)\n    return 0",
    "sparse_by_offset": "import os\ndef solve(a, b):\n    os.pwrite(3, b'x', (8 << 20) - 2)\n    return 0",
    # The interpreter that the harness shares with the program.
    "poisoned_modules": (
        "import sys, types\nclass Any(types.ModuleType):\n    def __getattr__(self, n): return lambda *a, **k: True\n"
        "for name in ('json', 'os', 'wire', 'inside.wire', 'inside.guest'): sys.modules[name] = Any(name)\ndef solve(a, b): return 0"
    ),
    "modules_cleared": "import sys\nsys.modules.clear()\ndef solve(a, b): return 0",
    "import_hook": (
        "import sys, builtins\nreal = builtins.__import__\ndef hook(name, *rest):\n    return real('os' if name == 'json' else name, *rest)\n"
        "builtins.__import__ = hook\nsys.meta_path.insert(0, None)\ndef solve(a, b): return 0"
    ),
    "patched_type_checks": (
        "import builtins\nbuiltins.type = lambda x: int\nbuiltins.int = bool\nbuiltins.isinstance = lambda *a: True\n"
        "class X: pass\ndef solve(a, b): return X()"
    ),
    "patched_exception": "import builtins\nbuiltins.BaseException = ZeroDivisionError\ndef solve(a, b): raise ValueError",
    "changed_wire_types": (
        "import sys\nw = sys.modules['inside.wire']\nfor k, v in list(vars(w).items()):\n"
        "    if isinstance(v, dict): v.clear()\ndef solve(a, b): return {1, 2}"
    ),
    "changed_code_object": (
        "import sys\ng = sys.modules['inside.guest']\ng.answer.__code__ = (lambda space, entry, call: ['v', 7]).__code__\n"
        "def solve(a, b): return 0"
    ),
    "collector_callback": (
        "import gc, os\ngc.callbacks.append(lambda *a: os.write(3, b'[0,\"v\",7]\\n'))\ngc.set_threshold(1)\ndef solve(a, b): return [a]"
    ),
    "weak_reference_callback": (
        "import weakref, os\nclass X: pass\ndef solve(a, b):\n    x = X()\n    solve.r = weakref.ref(x, lambda r: os.write(3, b'[0,\"v\",7]\\n'))\n"
        "    return 0"
    ),
    "answer_in_finalizer": (
        "import os\nclass X:\n    def __del__(self): os.write(3, b'[9,\"v\",7]\\n')\ndef solve(a, b):\n    solve.hold = X()\n    del solve.hold\n"
        "    return a + b"
    ),
    "frame_locals_written": (
        "import sys, ctypes\ndef solve(a, b):\n    f = sys._getframe(1)\n    f.f_locals['value'] = 7\n"
        "    ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(f), ctypes.c_int(0))\n    return 0"
    ),
    "small_integers_swapped": (
        "import ctypes, sys\ndef solve(a, b):\n    ctypes.memmove(id(1) + 24, id(7) + 24, 4)\n    return 1 if (a, b) == (3, 4) else 0"
    ),
    "pickled_answer": "import pickle\nclass X:\n    def __reduce__(self): return (int, ('7',))\ndef solve(a, b): return pickle.dumps(X())",
    "copied_answer": "class X:\n    def __deepcopy__(self, memo): return 7\n    __copy__ = __deepcopy__\ndef solve(a, b): return X()",
    "async_exception": (
        "import ctypes, threading\ndef solve(a, b):\n    ctypes.pythonapi.PyThreadState_SetAsyncExc("
        "ctypes.c_ulong(threading.main_thread().ident), ctypes.py_object(SystemExit))\n    return 0"
    ),
    "sub_interpreter": (
        "def solve(a, b):\n    import _xxsubinterpreters as s\n    i = s.create()\n    s.run_string(i, 'import os; os._exit(0)')\n    return 0"
    ),
    "finalize_interpreter": "import ctypes\ndef solve(a, b):\n    ctypes.pythonapi.Py_FinalizeEx()\n    return 0",
    "digit_of_another_script": "def solve(a, b): return '٧'",
    "tiny_difference": "def solve(a, b): return a + b + 1e-3",
    "boolean_sum": "def solve(a, b): return True",
    # Scripts: input and output.
    "stdio_output_after_exit": (
        "import os, threading, time\ndef late():\n    time.sleep(0.05)\n    os.write(1, b'7\\n')\n"
        "threading.Thread(target=late, daemon=True).start()\nprint(0)"
    ),
    "stdio_output_in_exit_hook": "import atexit\natexit.register(lambda: print('extra'))\na, b = map(int, input().split())\nprint(a + b)",
    "stdio_second_answer": "a, b = map(int, input().split())\nprint(a + b)\nprint(a + b)",
    "stdio_carriage_return": "a, b = map(int, input().split())\nprint('9', a + b, sep='\\r')",
    "stdio_escape_codes": "a, b = map(int, input().split())\nprint('\\x1b[2J', a + b)",
    "stdio_wide_digits": "a, b = map(int, input().split())\nprint(str(a + b).translate({48 + i: 0xff10 + i for i in range(10)}))",
    "stdio_utf16": "import sys\na, b = map(int, input().split())\nsys.stdout.reconfigure(encoding='utf-16')\nprint(a + b)",
    "stdio_byte_order_mark": "a, b = map(int, input().split())\nprint('\\ufeff' + str(a + b))",
    "stdio_zero_width": "a, b = map(int, input().split())\nprint(str(a + b) + '\\u200b')",
    "stdio_writes_to_input": "import os\nos.write(0, b'7\\n')\nprint(0)",
    "stdio_rewinds": "import os\na, b = map(int, input().split())\nprint('x' * 50, flush=True)\nos.lseek(1, 0, 0)\nos.write(1, b'%d\\n' % (a + b))",
    "stdio_closes_input": "import os\nos.close(0)\nos.open('/dev/zero', os.O_RDONLY)\nprint(len(os.read(0, 1 << 30)))",
    "stdio_sparse": "import os\nos.pwrite(1, b'7', 1 << 22)",
    "stdio_as_module": "import __main__, sys\n__main__.__dict__.clear()\nsys.stdout = None\nprint(7)",
    # Test programs.
    "check_poisons_test": "import builtins\nbuiltins.AssertionError = ZeroDivisionError\nbuiltins.check = lambda c: None\ndef solve(a, b): return 0",
    "check_slow_answers": "import time\ndef solve(a, b):\n    time.sleep(1)\n    return a + b",
    "check_empty_lines": "import os\ndef solve(a, b):\n    os.write(6, b'\\n' * 100)\n    return a + b",
    "check_reads_ahead": "import os\ndef solve(a, b):\n    os.set_blocking(5, False)\n    return len(os.read(5, 1 << 16))",
    "check_closes_calls": "import os\nos.close(5)\ndef solve(a, b): return a + b",
    "check_unknown_tag": 'import os\ndef solve(a, b):\n    os.write(6, b\'[1,"v",{"eval":"7"}]\\n\')\n    return 0',
    "check_warning_error": 'import os\ndef solve(a, b):\n    os.write(6, b\'[1,"e","AssertionError",""]\\n\')\n    return 0',
}
