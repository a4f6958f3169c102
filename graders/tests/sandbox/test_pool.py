"""The pool: order, statuses, isolation between jobs, and that nothing is left or lost."""

import os
import signal
import threading
import time
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rlvr_graders.sandbox import Call, ExecRequest, Sandbox
from rlvr_graders.sandbox.levels import make_pool

ADD = "def f(a, b):\n    return a + b"


def function(code, *calls, **settings):
    return ExecRequest(code, entry="f", calls=tuple(Call(call) for call in calls), **settings)


def values(result):
    return [call.value() for call in result.results]


def test_results_come_in_the_order_of_the_requests(pool):
    slow = "import time\ndef f(x):\n    time.sleep(x)\n    return x"
    times = [0.1, 0.0, 0.05, 0.0, 0.02]
    results = pool.run_many([function(slow, (t,)) for t in times])
    assert [values(result) for result in results] == [[t] for t in times]
    assert {result.status for result in results} == {"ok"}


def test_no_request_gives_no_result(pool):
    assert pool.run_many([]) == []


def test_it_is_a_sandbox(pool):
    assert isinstance(pool, Sandbox)
    assert pool.capabilities.isolated
    assert pool.self_test().failures() == ""


def test_plain_data_goes_in_and_out(pool):
    given_ = (1, -(1 << 80), 2.5, "ä\ud800", b"x", (1, [2]), {1: {2}}, None, True, 1j, frozenset([1]))
    (result,) = pool.run_many([function("def f(*a): return a", given_)])
    assert values(result) == [given_]


def test_keyword_arguments_expressions_and_setup(pool):
    code = "class C:\n    def __init__(self, n): self.n = n\ndef f(c=None, *, k=1): return (c.n if c else 0) + k"
    calls = (Call((), {"k": 5}), Call(expr="f(made, k=2)"), Call(expr="[f(k=n) for n in range(3)]"))
    (result,) = pool.run_many([ExecRequest(code, entry="f", calls=calls, setup="made = C(40)")])
    assert values(result) == [5, 42, [0, 1, 2]]


def test_each_call_gets_arguments_of_its_own(pool):
    (result,) = pool.run_many([function("def f(x):\n    x.append(1)\n    return x", ([],), ([],))])
    assert values(result) == [[1], [1]]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def f(a, b): return a // 0", "error"),
        ("def f(a, b) return 1", "error"),
        ("g = 1", "error"),
        ("raise SystemExit(0)", "error"),
        ("import os\ndef f(a, b): os._exit(0)", "incomplete"),
        ("import os\ndef f(a, b): os.abort()", "crash"),
        ("def f(a, b):\n    while True: pass", "timeout"),
        ("import time\ndef f(a, b): time.sleep(100)", "timeout"),
        ("def f(a, b):\n    while True: print('x' * 10000)", "output_limit"),
        ("import os\ndef f(a, b):\n    os.write(3, b'[0,\"v\",1]\\n')\n    return 1", "protocol_error"),
        (
            "import threading\nthreading.stack_size(65536)\ndef f(a, b):\n    e = threading.Event()\n    while True:\n"
            "        try: threading.Thread(target=e.wait).start()\n        except RuntimeError: pass",
            "crash",
        ),
        ("def f(a, b): return bytearray(1 << 40)", "error"),
    ],
)
def test_statuses(pool, code, status):
    limit_s = 0.3 if status == "timeout" else 5.0  # what is not about time must not depend on the load
    (result,) = pool.run_many([function(code, (1, 2), timeout_s=limit_s, max_output_bytes=1 << 20)])
    assert result.status == status, result
    assert result.completed == (status == "error" and bool(result.results))


def test_finished_calls_survive_a_later_timeout(pool):
    code = "def f(x):\n    while x: pass\n    return 1"
    (result,) = pool.run_many([function(code, (0,), (0,), (1,), timeout_s=2.0)])
    assert result.status == "timeout"
    assert values(result) == [1, 1]


def test_arguments_that_cannot_be_sent_are_a_fault_of_the_request(pool):
    results = pool.run_many([function(ADD, (object(), 1)), function(ADD, (1, 1)), None])
    assert [result.status for result in results] == ["infra_error", "ok", "infra_error"]


def test_two_jobs_do_not_see_each_other(pool):
    leave = "import sys, builtins, os\nbuiltins.leak = 1\nsys.leak = 1\nos.environ['LEAK'] = '1'\ndef f(): return 0"
    look = "import sys, builtins, os\ndef f(): return hasattr(sys, 'leak') or hasattr(builtins, 'leak') or 'LEAK' in os.environ"
    results = pool.run_many([request for _ in range(6) for request in (function(leave, ()), function(look, ()))])
    assert [values(result) for result in results[1::2]] == [[False]] * 6


def test_flags_on_a_descriptor_do_not_reach_the_next_job(pool):
    leave = "import fcntl, os\ndef f():\n    for fd in range(4): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)"
    look = "import fcntl, os\ndef f():\n    return [fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_NONBLOCK | os.O_APPEND) for fd in range(4)]"
    results = pool.run_many([request for _ in range(6) for request in (function(leave, ()), function(look, ()))])
    assert [values(result) for result in results[1::2]] == [[[0] * 4]] * 6


@pytest.mark.parametrize("limit_s", [float("inf"), float("nan"), 0, -1, 1e300, 10**400, "long"])
def test_a_time_limit_that_is_none_is_a_fault_of_the_request(pool, limit_s):
    odd, right, long = pool.run_many(
        [function(ADD, (1, 1), timeout_s=limit_s), function(ADD, (1, 1)), function(ADD, (1, 1), timeout_s=1e8)]
    )
    assert [odd.status, right.status, long.status] == ["infra_error", "ok", "ok"]


def test_a_job_finds_no_earlier_program_in_its_own_memory(pool):
    marker = "a_word_that_no_other_program_has"
    pool.run_many([function(f"def f(): return '{marker}'", ())] * 4)
    look = (
        "import gc\ndef f(half):\n    word = half + 'no_other_program_has'\n"
        "    return sum(type(o) is str and o == word for o in gc.get_objects()) + sum(\n"
        "        word in str(o) for o in gc.get_objects() if type(o) is dict and '__name__' in o and o.get('__name__') != 'solution')"
    )
    (result,) = pool.run_many([function(look, ("a_word_that_",))])
    assert values(result) == [0]


def test_the_same_program_gives_the_same_answer(pool):
    code = "import random\ndef f(): return [random.random(), list({'a', 'b', 'c', 'd', 'e'})]"
    results = pool.run_many([function(code, ())] * 4)
    assert len({str(values(result)) for result in results}) == 1


def test_stdio_bytes_exit_codes_and_tricks_of_reading(pool):
    programs = [
        "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())",
        "import os\nos.write(1, os.read(0, os.fstat(0).st_size))",
        "print(open(0).read(), end='')",
        "print(input(), file=open('/dev/stdout', 'w'))",
        "print(open('/dev/stdin').read(), end='')",
        "import sys\nprint(''.join(sys.stdin), end='')",
        "import threading, sys\nthreading.stack_size(1 << 27)\nsys.setrecursionlimit(10 ** 6)\n"
        "threading.Thread(target=lambda: print(input())).start()",
        "import atexit\natexit.register(lambda: print(input()))",
        "import asyncio\nasync def main(): print(input())\nasyncio.run(main())",
        "if __name__ == '__main__':\n    print(input())",
        "import sys\nprint(input())\nsys.exit()",
    ]
    requests = [ExecRequest(code, "stdio", stdin=b"one line\n") for code in programs]
    assert [(r.status, r.stdout) for r in pool.run_many(requests)] == [("ok", b"one line\n")] * len(programs)
    crashed = pool.run_many([ExecRequest(code, "stdio") for code in ("1 / 0", "import sys; sys.exit(3)", "input()")])
    assert [result.status for result in crashed] == ["error"] * 3
    assert crashed[0].reason == "ZeroDivisionError: division by zero"
    assert crashed[1].exit_code == 3


def test_much_output_is_not_a_timeout(pool):
    (result,) = pool.run_many([ExecRequest("for i in range(300000): print(i)", "stdio")])
    assert (result.status, len(result.stdout.splitlines())) == ("ok", 300000)


@given(st.binary(max_size=2000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_go_through_a_script(pool, data):
    (result,) = pool.run_many([ExecRequest("import os\nos.write(1, os.read(0, 4096))", "stdio", stdin=data)])
    assert (result.status, result.stdout) == ("ok", data)


@given(st.binary(max_size=300))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_on_the_result_channel_are_only_a_wrong_answer(pool, data):
    code = f"import os\nos.write(3, {data!r})\ndef f(a, b):\n    return a + b"
    (result,) = pool.run_many([function(code, (1, 2))])
    assert result.status in ("ok", "protocol_error", "error", "incomplete")
    assert b"\n" not in data or result.status in ("protocol_error", "error")


def test_timeouts_leave_nothing_and_slow_nothing_down():
    with make_pool("landlock", 2) as pool:
        zygotes = [worker.process.pid for worker in pool.zygotes.workers]
        (before,) = pool.run_many([function(ADD, (1, 2))])
        results = pool.run_many([function("def f():\n    while True: pass", (), timeout_s=0.02)] * 50)
        assert {result.status for result in results} == {"timeout"}
        (after,) = pool.run_many([function(ADD, (1, 2))])
        assert after.wall_s < before.wall_s + 1.0
        assert [worker.process.pid for worker in pool.zygotes.workers] == zygotes
        for pid in zygotes:
            with open(f"/proc/{pid}/task/{pid}/children") as file:
                assert file.read() == ""
    assert not any(os.path.exists(f"/proc/{pid}") for pid in zygotes)


def test_a_lost_zygote_is_replaced_and_its_job_run_again():
    with make_pool("landlock", 1) as pool:
        victim = pool.zygotes.workers[0].process.pid
        threading.Timer(0.1, os.kill, (victim, signal.SIGKILL)).start()
        (result,) = pool.run_many([function("import time\ndef f():\n    time.sleep(1.5)\n    return 1", ())])
        assert (result.status, values(result)) == ("ok", [1])
        assert pool.zygotes.workers[0].process.pid != victim


def test_zygotes_are_recycled():
    with make_pool("landlock", 1) as pool:
        pool.zygotes.recycle_after = 3
        seen = set()
        for _ in range(7):
            pool.run_many([function(ADD, (1, 2))])
            seen |= {worker.process.pid for worker in pool.zygotes.workers}
        assert len(seen) == 3


def test_a_closed_pool_and_a_pool_that_cannot_start_fail_as_infrastructure():
    pool = make_pool("landlock", 1)
    pool.close()
    pool.close()
    assert [result.status for result in pool.run_many([function(ADD, (1, 2))])] == ["infra_error"]
    broken = make_pool("landlock", 1)
    broken.zygotes.launcher = ("/nonexistent/launcher",)
    os.kill(broken.zygotes.workers[0].process.pid, signal.SIGKILL)
    broken.zygotes.workers[0].process.wait()
    assert [result.status for result in broken.run_many([function(ADD, (1, 2))] * 2)] == ["infra_error"] * 2
    broken.close()


def test_threads_share_a_pool(pool):
    seen = {}

    def work(n):
        seen[n] = [values(result) for result in pool.run_many([function(ADD, (n, k)) for k in range(5)])]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {n: [[n + k] for k in range(5)] for n in range(6)}


def test_a_forked_copy_gets_zygotes_of_its_own(pool):
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what data loaders do
        child = os.fork()
    if child == 0:
        try:
            results = pool.run_many([function(ADD, (20, 22))])
            os.write(write, str(values(results[0])).encode())
            pool.close()
        finally:
            os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 100) == b"[42]"
    os.close(read)
    assert values(pool.run_many([function(ADD, (1, 2))])[0]) == [3]


def test_an_interrupt_ends_the_jobs_that_are_running():
    with make_pool("landlock", 1) as pool:
        (zygote,) = [worker.process.pid for worker in pool.zygotes.workers]
        previous = signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(KeyboardInterrupt):
                pool.run_many([function("import time\ndef f(): time.sleep(60)", (), timeout_s=60.0)])
        finally:
            signal.signal(signal.SIGALRM, previous)
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{zygote}") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/{zygote}")
        assert values(pool.run_many([function(ADD, (1, 2))])[0]) == [3]


def test_a_program_finds_no_descriptor_but_its_own():
    look = (
        "import os\ndef f():\n    found = []\n    for fd in range(5000):\n        try:\n            os.fstat(fd)\n"
        "            found.append(fd)\n        except OSError: pass\n    return found"
    )
    many = [os.dup(0) for _ in range(300)]  # a trainer with many open files gives its zygotes sockets with high numbers
    try:
        with make_pool("landlock", 1) as pool:
            assert values(pool.run_many([function(look, ())])[0]) == [[0, 1, 2, 3]]
            check = ExecRequest(look, "check", entry="f", test="assert candidate() == [0, 1, 2, 3, 5, 6]")
            assert [one.held for one in pool.run_many([check])[0].asserts] == [True]
    finally:
        for fd in many:
            os.close(fd)
