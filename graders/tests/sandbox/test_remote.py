"""Remote sandboxes, against a small server that speaks SandboxFusion's protocol and a machine with E2B's methods."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
from rlvr_graders.code.grade import grade_programs
from rlvr_graders.code.tests import parse_tests
from rlvr_graders.errors import SandboxError
from rlvr_graders.sandbox import Call, ExecRequest, Sandbox
from rlvr_graders.sandbox.remote import E2B, SandboxFusion

TESTS = {"kind": "function", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}, {"args": [2, 2], "expected": 4}]}
STDIO = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}]}


def execute(code, stdin, timeout_s):
    """A stand-in for a service: no isolation, these are our own programs."""
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        return {"status": "Finished", "return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
    except subprocess.TimeoutExpired:
        return {"status": "TimeLimitExceeded", "return_code": None, "stdout": "", "stderr": ""}


class Handler(BaseHTTPRequestHandler):
    failures = 0

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(body)
        if self.server.failures:
            self.server.failures -= 1
            self.send_error(503)
            return
        if self.path != "/run_code" or body["language"] != "python":
            self.send_error(404)
            return
        if "broken server" in body["code"]:
            answer = {"status": "SandboxError", "message": "out of disk", "run_result": None}
        else:
            ran = {"execution_time": 0.01, **execute(body["code"], body["stdin"], body["run_timeout"])}
            answer = {"status": "Success" if ran["return_code"] == 0 else "Failed", "message": "", "run_result": ran}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.seen, made.failures = [], 0
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def fusion(server):
    sandbox = SandboxFusion(f"http://127.0.0.1:{server.server_port}", workers=4)
    yield sandbox
    sandbox.close()


PROGRAMS = {
    "def add(a, b):\n    print('noise')\n    return a + b": "pass",
    "def add(a, b):\n    return 3": "wrong",
    "def add(a, b):\n    raise ValueError": "error",
    "def add(a, b:": "error",
    "import os\ndef add(a, b):\n    os._exit(0)": "incomplete",
    'import os\nos.write(1, b\'[0,"v",3]\\n[1,"v",4]\\n\')\nos._exit(0)': "incomplete",
    "class X(int):\n    def __eq__(self, o): return True\ndef add(a, b): return X(0)": "wrong",
    "def add(a, b):\n    while True: pass": "timeout",
}


def test_sandbox_fusion_grades_as_a_local_level_does(fusion, server):
    assert isinstance(fusion, Sandbox)
    assert fusion.self_test().failures() == ""
    grades = grade_programs(
        list(PROGRAMS), [parse_tests(TESTS)] * len(PROGRAMS), fusion, timeout_s=3.0
    )  # an interpreter starts within it on a busy machine
    assert [grade.verdict for grade in grades] == list(PROGRAMS.values())
    scripts = ["a, b = map(int, input().split())\nprint(a + b)", "print(3)\n1 / 0", "print(4)"]
    grades = grade_programs(scripts, [parse_tests(STDIO)] * 3, fusion)
    assert [grade.verdict for grade in grades] == ["pass", "error", "wrong"]
    secret = parse_tests({"kind": "function", "entry": "add", "cases": [{"args": [1], "expected": "a secret value"}]})
    grade_programs(["def add(a): return 0"], [secret], fusion)
    assert not any("secret" in body["code"] + body["stdin"] for body in server.seen)


def test_a_failing_service_is_infrastructure(fusion, server):
    requests = [ExecRequest("# broken server\n", "stdio"), ExecRequest("print(1)", "check", entry="f")]
    assert [result.status for result in fusion.run_many(requests)] == ["infra_error"] * 2
    server.failures = 1
    assert fusion.run_many([ExecRequest("print(1)", "stdio")])[0].stdout == b"1\n"
    server.failures = 100
    assert fusion.run_many([ExecRequest("print(1)", "stdio")])[0].status == "infra_error"


def test_an_absent_service_and_a_wrong_address():
    with pytest.raises(SandboxError):
        SandboxFusion("localhost:8080")
    sandbox = SandboxFusion("http://127.0.0.1:9", attempts=1)
    assert sandbox.run_many([ExecRequest("print(1)", "stdio")])[0].status == "infra_error"
    assert not sandbox.self_test().ok
    sandbox.close()


class Machine:
    """What `e2b.Sandbox` offers, as far as it is used."""

    made: ClassVar[list] = []

    def __init__(self):
        self.held, self.killed = {}, False
        self.files = SimpleNamespace(write=self.held.__setitem__)
        self.commands = SimpleNamespace(run=self.run)
        self.made.append(self)

    def run(self, command, timeout):
        limit = float(command.split("KILL ")[1].split()[0])
        ran = execute(self.held["/tmp/job.py"], self.held["/tmp/job.in"], limit)
        code = 137 if ran["return_code"] is None else ran["return_code"]
        result = SimpleNamespace(stdout=ran["stdout"], stderr=ran["stderr"], exit_code=code)
        if code == 0:
            return result
        error = RuntimeError("exit code")
        error.__dict__.update(vars(result))
        raise error

    def kill(self):
        self.killed = True


def test_e2b_uses_a_fresh_machine_per_program():
    Machine.made.clear()
    sandbox = E2B(make=Machine, workers=2)
    assert sandbox.self_test().failures() == ""
    requests = [ExecRequest("def f(x): return (x,)", entry="f", calls=(Call((n,)),)) for n in range(3)]
    assert [result.results[0].value() for result in sandbox.run_many(requests)] == [(0,), (1,), (2,)]
    assert len(Machine.made) == 6
    assert all(machine.killed for machine in Machine.made)
    sandbox.close()


def test_e2b_without_its_package_or_key_says_what_is_missing(monkeypatch):
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    with pytest.raises(SandboxError, match=r"e2b|E2B"):
        E2B()
