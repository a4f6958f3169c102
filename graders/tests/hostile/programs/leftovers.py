"""Staying alive, or leaving something that outlives the job."""

PROGRAMS = {
    "daemon": (
        "import os, time\ndef solve(a, b):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            time.sleep(1000)\n        os._exit(0)\n    return 0"
    ),
    "daemon_with_pipe": "import os, time\ndef solve(a, b):\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)",
    "thread_still_running": (
        "import threading\ndef loop():\n    while True: pass\nthreading.Thread(target=loop).start()\ndef solve(a, b): return 0"
    ),
    "daemon_thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\ndef solve(a, b): return 0"
    ),
    "no_death_signal": (
        "import ctypes, time\ndef solve(a, b):\n    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\n    time.sleep(1000)"
    ),
    "subreaper": "import ctypes, time\ndef solve(a, b):\n    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n    time.sleep(1000)",
    "library_patch": "import json.decoder, os\nopen(json.decoder.__file__, 'a').write('')\ndef solve(a, b): return 0",
    "byte_code": "import py_compile, os\npy_compile.compile(os.__file__, cfile='/tmp/@TOKEN@.pyc')\ndef solve(a, b): return 0",
    "environment_for_the_next": "import os\nos.environ['@TOKEN@'] = '1'\ndef solve(a, b): return 0",
    "module_for_the_next": "import sys, math\nmath.leak = 1\nsys.modules['leak'] = math\ndef solve(a, b): return 0",
    "timer": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.001)\ndef solve(a, b): return 0",
    "lock_file": "import fcntl, os\nfd = os.open('/tmp/@TOKEN@', os.O_CREAT)\nfcntl.flock(fd, 2)\ndef solve(a, b): return 0",
    "flags_of_the_next_input": "import fcntl, os\nfcntl.fcntl(0, 4, os.O_NONBLOCK | os.O_APPEND)\ndef solve(a, b): return 0",
    "input_of_the_job_before": (
        "import fcntl, os\ndef solve(a, b): return 'managed' if fcntl.fcntl(0, 3) & (os.O_NONBLOCK | os.O_APPEND) else 0"
    ),
    "stdio_daemon": "import os, time\nif os.fork() == 0: time.sleep(1000)\nprint(0)",
    "stdio_background": "import subprocess\nsubprocess.Popen(['sleep', '1000'])\nprint(0)",
    "check_daemon": "import os, time\ndef solve(a, b):\n    if os.fork() == 0: time.sleep(1000)\n    return 0",
}
