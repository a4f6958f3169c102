r"""Hostile answers and the process that bears them: deadlines, threads, forks, kills, and nothing left behind."""

import multiprocessing
import os
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_answers import GOLDS, HOSTILE
from rlvr_graders.math import MathReward, grade_math, leaves, worker

DEADLINE_S = 0.5
SLACK_S = 20.0
"""For starting a fresh worker on a busy machine, and for two workers shared by four threads. What is computed without a limit
takes hours."""


@pytest.fixture(scope="module", autouse=True)
def workers():
    worker.warm_up()
    yield
    worker.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_gets_its_verdict_in_time_and_is_never_right(name):
    for gold in GOLDS[:2]:
        start = time.perf_counter()
        grade = grade_math(gold, HOSTILE[name], deadline_s=DEADLINE_S)
        assert time.perf_counter() - start < DEADLINE_S + SLACK_S
        assert grade.score == 0.0, (gold, grade)
        assert grade.reason in ("different", "no_answer", "timeout")


def test_the_main_thread_keeps_running_while_other_threads_grade_hostile_answers():
    """The longest pause of the main thread stays far below what one computed tower would take."""
    jobs = [(gold, completion) for completion in HOSTILE.values() for gold in GOLDS[:2]]
    times: list[float] = []

    def grade(job):
        start = time.perf_counter()
        score = grade_math(*job, deadline_s=DEADLINE_S).score
        times.append(time.perf_counter() - start)
        return score

    with ThreadPoolExecutor(4) as threads:
        work = [threads.submit(grade, job) for job in jobs]
        ticks, longest, last = 0, 0.0, time.perf_counter()
        while not all(job.done() for job in work):
            time.sleep(0.002)
            now = time.perf_counter()
            longest, last, ticks = max(longest, now - last), now, ticks + 1
        assert {job.result() for job in work} == {0.0}
    assert ticks > 20
    assert longest < 10.0
    # Four threads share two workers: one may wait for two others, each of which may have to wait for a fresh worker.
    assert max(times) < 3 * (DEADLINE_S + SLACK_S)


def test_nothing_was_executed():
    assert not Path("/tmp/g2rpo_injected").exists()


def test_threads_get_their_own_answers():
    golds = [rf"\sqrt{{{n}}}" for n in range(2, 40)]
    with ThreadPoolExecutor(8) as threads:
        same = list(threads.map(lambda g: grade_math(g, rf"\boxed{{\frac{{2{g}}}{{2}}}}").score, golds))
        other = list(threads.map(lambda g: grade_math(g, rf"\boxed{{{g}+10^{{-9}}}}").score, golds))
    assert set(same) == {1.0}
    assert set(other) == {0.0}


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    """Every question reaches a worker, also one that an earlier test has asked."""
    monkeypatch.setattr(leaves, "_replies", {})


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes through /proc")
def test_a_killed_worker_is_replaced_and_none_is_left_behind():
    worker.close()
    before = _children()
    assert grade_math(r"\sqrt{8}", r"\boxed{2\sqrt{2}}").score == 1.0
    for pid in _children() - before:
        os.kill(pid, signal.SIGKILL)
    assert grade_math(r"\sqrt{8}", r"\boxed{\sqrt{2}\sqrt{4}}").score == 1.0
    slow = r"\boxed{\int_0^{10} \sin(x^x)\,\cos(e^{x})\,dx}"
    assert grade_math("5", slow, deadline_s=0.2).reason == "timeout"
    assert grade_math(r"\sqrt{8}", r"\boxed{\sqrt{2}+\sqrt{2}}").score == 1.0
    worker.close()
    assert _children() == before


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts processes through /proc")
def test_easy_answers_start_no_process():
    worker.close()
    before = _children()
    for gold, answer in [("5", "5.0"), ("1/2", "0.5"), (r"\{1,2\}", "2, 1"), ("B", "(b)"), ("9^{9^9}", "9^{9^8}")]:
        grade_math(gold, "\\boxed{" + answer + "}")
    assert _children() == before


def _right_and_wrong(index):
    return tuple(grade_math(r"\sqrt{8}", rf"\boxed{{{answer}}}").score for answer in (r"2\sqrt{2}", rf"{index}\sqrt{{3}}"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_run_can_start_the_worker_without_waiting_for_it():
    worker.close()
    reward = MathReward()
    assert worker._pool._all == []  # nothing runs before somebody needs it
    reward.warm_up()
    reward.warm_up()
    (only,) = worker._pool._all
    assert not only._greeted  # nobody has waited for it
    assert worker.ask({"op": "value", "gold": "2", "answer": "1+1"}, 5.0)["equal"]
    assert worker._pool._all == [only]


def test_forked_processes_start_their_own_worker():
    """As the worker processes of a data loader do."""
    worker.warm_up()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is what data loaders do
        with multiprocessing.get_context("fork").Pool(2) as processes:
            assert processes.map(_right_and_wrong, range(6)) == [(1.0, 0.0)] * 6
    assert grade_math(r"\sqrt{8}", r"\boxed{\sqrt{4}\sqrt{2}}").score == 1.0


def test_the_reward_works_in_a_thread_without_signals():
    scores = []
    thread = threading.Thread(target=lambda: scores.extend(MathReward()([r"\boxed{\frac{2}{\sqrt2}}"], [r"\sqrt2"])))
    thread.start()
    thread.join()
    assert scores == [1.0]


def test_a_message_beyond_the_limit_never_reaches_the_worker():
    reply = worker.ask({"op": "value", "gold": "x" * 70_000, "answer": "1"}, 1.0)
    assert reply["equal"] is False
