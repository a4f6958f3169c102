"""Which sandbox a machine gets, and that it refuses rather than warns."""

import sys

import pytest
from rlvr_graders.errors import SandboxError
from rlvr_graders.sandbox import Call, Capabilities, ExecRequest, SelfTest, describe_levels, levels, open_sandbox, selftest
from rlvr_graders.sandbox.worker import WorkerLost

ADD = ExecRequest("def f(a, b): return a + b", entry="f", calls=(Call((1, 2)),))


def broken(name, workers=None):
    raise WorkerLost(f"{name} is not there")


@pytest.mark.usefixtures("pool")
def test_auto_takes_the_first_level_that_passes_and_says_so_once(capsys):
    with open_sandbox(workers=1) as sandbox:
        assert sandbox.run_many([ADD])[0].results[0].value() == 3
        assert sandbox.capabilities.isolated
        assert sandbox.capabilities.time_scale >= 1
    assert capsys.readouterr().err.count("Sandbox: level landlock") == 1


def test_nothing_that_works_is_refused(monkeypatch):
    monkeypatch.setattr(levels, "make_pool", broken)
    with pytest.raises(SandboxError, match=r"landlock is not there.*bwrap\+ is not there"):
        open_sandbox()


def test_limits_alone_need_a_word(monkeypatch):
    with pytest.raises(SandboxError, match="no isolation"):
        open_sandbox("rlimits")
    real = levels.make_pool
    monkeypatch.setattr(levels, "make_pool", lambda name, workers=None: (real if name == "rlimits" else broken)(name, workers))
    with pytest.raises(SandboxError):
        open_sandbox()
    with open_sandbox(allow_unsafe=True, workers=1, calibrate=False) as sandbox:
        assert not sandbox.capabilities.isolated
        assert sandbox.run_many([ADD])[0].status == "ok"


@pytest.mark.usefixtures("pool")
def test_a_level_whose_self_test_fails_is_not_taken(monkeypatch):
    monkeypatch.setattr(selftest, "self_test", lambda sandbox: SelfTest({"write_a_file": "managed to write_a_file"}))
    with pytest.raises(SandboxError, match="write_a_file"):
        open_sandbox(workers=1)


def test_the_self_test_sees_a_sandbox_that_does_not_hold():
    class Pretender(levels.Pool):
        capabilities = property(lambda self: Capabilities("pretender", (), True, 1))

    with Pretender(level="pretender", confined=False, workers=1) as pool:
        failures = selftest.self_test(pool).probes
    bad = {name for name, problem in failures.items() if problem}
    assert {"read_a_secret", "write_a_file", "fork_a_process", "open_an_internet_socket", "signal_the_parent"} <= bad


def test_a_self_test_without_probes_is_no_pass():
    assert not SelfTest({}).ok


def test_an_unknown_level_and_windows_are_refused(monkeypatch):
    with pytest.raises(SandboxError, match="docker"):
        open_sandbox("docker")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SandboxError, match="Windows"):
        open_sandbox()


def test_the_levels_are_described():
    reports = {report.name: report for report in describe_levels()}
    assert list(reports) == ["landlock", "bwrap+", "rlimits"]
    for report in reports.values():
        assert report.protects
        assert report.does_not_protect
        assert report.usable or report.reason


def test_calibration_is_bounded():
    class Slow:
        def run_many(self, requests):
            import time

            time.sleep(0.1)
            return [type("R", (), {"status": "ok"})()]

    assert 1.0 <= selftest.calibrate(Slow()) <= selftest.MAX_SCALE
