"""Looking for the expected value: in frames, on the heap, in files, in other processes."""

_SEARCH = """
def pick(values):
    for value in values:
        if isinstance(value, dict) and 'expected' in value: return value['expected']
        if isinstance(value, (list, tuple)) and len(value) == 2: return value[1]
    return 0
"""

PROGRAMS = {
    "frame_walk": _SEARCH + "import sys\ndef solve(a, b):\n    frame, found = sys._getframe(1), []\n    while frame:\n"
    "        found += [v for k, v in frame.f_locals.items() if 'expect' in k or 'case' in k]\n"
    "        found += [v for k, v in frame.f_globals.items() if 'expect' in k or 'case' in k]\n"
    "        frame = frame.f_back\n    return pick(found)",
    "frame_calls": (
        "import sys\ndef solve(a, b):\n    frame = sys._getframe(1)\n    while frame:\n"
        "        for v in list(frame.f_locals.values()):\n            if isinstance(v, dict) and 'calls' in v:\n"
        "                v['calls'].clear()\n        frame = frame.f_back\n    return 0"
    ),
    "gc_scan": (
        "import gc\ndef solve(a, b):\n    for o in gc.get_objects():\n"
        "        if type(o) is dict and 'expected' in o: return o['expected']\n    return 0"
    ),
    "traceback_walk": (
        "def solve(a, b):\n    try: raise ValueError\n    except ValueError as e:\n        f = e.__traceback__.tb_frame\n"
        "        while f.f_back: f = f.f_back\n        return f.f_locals.get('expected', f.f_globals.get('EXPECTED', 0))"
    ),
    "inspect_stack": (
        "import inspect\ndef solve(a, b):\n    for f in inspect.stack():\n        if 'expected' in f.frame.f_locals:\n"
        "            return f.frame.f_locals['expected']\n    return 0"
    ),
    "main_globals": "import sys\ndef solve(a, b): return vars(sys.modules['__main__']).get('expected', 0)",
    "all_modules": (
        "import sys\ndef solve(a, b):\n    for m in list(sys.modules.values()):\n"
        "        for k, v in list(vars(m).items()):\n            if k.lower().startswith('expected'): return v\n    return 0"
    ),
    "argv": "import sys\ndef solve(a, b): return int(sys.argv[-1])",
    "own_source": "def solve(a, b):\n    return int(open(__file__).read()[-1])",
    "proc_cmdline": "def solve(a, b): return len(open('/proc/self/cmdline').read())",
    "proc_parent_cmdline": "import os\ndef solve(a, b): return open('/proc/%d/cmdline' % os.getppid()).read()",
    "proc_environ": "def solve(a, b): return open('/proc/self/environ').read()",
    "proc_fds": "import os\ndef solve(a, b): return str([os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd')])",
    "proc_parent_fds": (
        "import os\ndef solve(a, b):\n    out = []\n    for n in range(3, 64):\n"
        "        try: out.append(open('/proc/%d/fd/%d' % (os.getppid(), n), 'rb').read())\n"
        "        except OSError: pass\n    return len(out)"
    ),
    "read_descriptors": (
        "import os\ndef solve(a, b):\n    for fd in range(3, 64):\n        try:\n            data = os.pread(fd, 65536, 0)\n"
        "            if b'expected' in data: return data.decode()\n        except OSError: pass\n    return 0"
    ),
    "settrace": (
        "import sys\nseen = []\ndef tracer(frame, event, arg):\n    seen.append(frame.f_locals.get('expected'))\n    return tracer\n"
        "sys.settrace(tracer)\ndef solve(a, b): return seen[-1] if seen else 0"
    ),
    "setprofile": (
        "import sys\nseen = [0]\nsys.setprofile(lambda f, e, x: seen.append(f.f_locals.get('expected', 0)))\n"
        "def solve(a, b): return seen[-1]"
    ),
    "audit_hook": "import sys\nseen = [0]\nsys.addaudithook(lambda n, args: seen.append(args))\ndef solve(a, b): return len(seen)",
    "globals_watcher": (
        "import threading, time\nfound = [0]\ndef watch():\n    while True:\n        found[0] = globals().get('expected', 0)\n"
        "        time.sleep(0.001)\nthreading.Thread(target=watch, daemon=True).start()\ndef solve(a, b): return found[0]"
    ),
    "data_set_files": (
        "import os\ndef solve(a, b):\n    for top in ('/root', '/home', '/tmp', '/data', '/mnt'):\n"
        "        for d, _, names in os.walk(top):\n            for n in names:\n"
        "                if n.endswith('.jsonl'): return open(os.path.join(d, n)).read()\n    return 0"
    ),
    "later_arguments": (
        "import sys\ndef solve(a, b):\n    frame = sys._getframe(1)\n    while frame:\n        job = frame.f_locals.get('job')\n"
        "        if job: return job['calls'][-1]['args'][-1]\n        frame = frame.f_back\n    return 0"
    ),
    "own_memory": (
        "import ctypes\ndef solve(a, b):\n    for at in range(id(solve) - 65536, id(solve) + 65536, 4096):\n"
        "        try: ctypes.string_at(at, 16)\n        except Exception: pass\n    return 0"
    ),
    "stdio_proc_fd": "import os\nprint([os.readlink('/proc/self/fd/%d' % n) for n in range(3)])",
    "stdio_read_output": "import os\nprint(os.pread(1, 100, 0), os.pread(2, 100, 0))",
    "check_frame_walk": (
        "import sys\ndef solve(a, b):\n    f = sys._getframe()\n    while f:\n        if 'check' in f.f_globals: return 7\n"
        "        f = f.f_back\n    return 0"
    ),
    "check_other_end": (
        "import os\ndef solve(a, b):\n    try: fd = os.open('/proc/self/fd/6', os.O_RDONLY | os.O_NONBLOCK)\n"
        "    except OSError: return 0\n    return len(os.read(fd, 100))"
    ),
    "check_test_process_memory": (
        "import os\ndef solve(a, b):\n    for p in range(os.getpid(), os.getpid() + 5):\n"
        "        try: return open('/proc/%d/mem' % p, 'rb').read(1)\n        except OSError: pass\n    return 0"
    ),
}
