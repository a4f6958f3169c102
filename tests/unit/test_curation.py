"""Data judged before it is trained on: what a check finds, lengths in tokens, pass rates on disk; and the
commands."""

import dataclasses
import json
import os

import pytest
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.curation.check import check, doubtful_traces, says
from g2rpo.curation.difficulty import PassRates, measure
from g2rpo.curation.lengths import lengths
from g2rpo.data.problem import Problem
from g2rpo.data.tasks import make
from g2rpo.errors import ConfigError, G2RPOError, RunError


def ask(key="k", answer="18", trace="16-3=13\n13+5=18", **fields):
    return Problem(key, [{"role": "user", "content": f"question {key}"}], answer, trace, **fields)


# --- check


def test_rows_with_a_doubtful_trace_are_named():
    right = [ask(f"r{i}") for i in range(4)]
    wrong, none = ask("wrong", answer="21"), ask("none", trace=None)
    found = doubtful_traces([*right[:2], wrong, none, *right[2:]])
    assert [(one.kind, one.rows) for one in found] == [("no trace", (3,)), ("trace without its answer", (2,))]
    assert doubtful_traces(right) == []
    # Where traces do not state their answers as a rule, one that does not says nothing.
    assert doubtful_traces([wrong, right[0]]) == []
    assert doubtful_traces([none]) == []


def test_what_is_right_has_no_faults():
    result = check([ask(), *make("chains", "train", 5, steps=3)])
    assert result.faults == []
    assert (result.problems, result.references, result.traces, result.steps, result.concluding) == (6, 6, 6, 17, 6)
    assert set(result.counts.values()) == {0}


@pytest.mark.parametrize(
    ("problem", "kind", "why"),
    [
        (ask(answer=""), "gold", "gold"),
        (ask(answer=None), "gold", "neither an answer nor tests"),
        (ask(answer=None, tests={"kind": "function", "entry": "f", "cases": []}), "gold", "at least one test"),
        (ask(trace="so \\boxed{17}"), "trace", "states '17' where '18' is right"),
        (ask(trace="a\nb", traces=("a\nb", "\\boxed{3}")), "trace", "states '3'"),
    ],
)
def test_faults_are_found_and_say_why(problem, kind, why):
    faults = check([problem]).faults
    assert kind in [fault.kind for fault in faults]
    assert any(why in fault.why for fault in faults if fault.kind == kind)


def test_a_question_that_stands_there_twice():
    again = dataclasses.replace(ask(), key="other")
    assert [(f.key, f.kind, f.why) for f in check([ask(), again]).faults] == [("other", "duplicate", "the same question as k")]


def test_a_guard_that_fails_is_noticed(monkeypatch):
    monkeypatch.setattr("g2rpo.curation.check.leak_start", lambda trace, answer, guard: len(trace))
    assert [fault.kind for fault in check([ask()]).faults] == ["leak"]
    assert [fault.kind for fault in check([ask()], guard="conclusion").faults] == ["leak"]
    assert check([ask()], guard="off").faults == []


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("costs $1,234.50 now", "1234.5", True),
        ("1, 234", "1234", False),
        ("sums to 118", "18", False),
        ("x=18.0", "18", True),
        ("18.5", "18", False),
        ("-5 left", "-5", True),
        ("5 left", "-5", False),
        ("3,4,5", "4", True),
        ("a x + 1 b", "x+1", False),
        ("is  x +  1.", "x + 1", True),
        ("option B", "B", False),
        ("the word ratio", "rat", False),
        (".5", "0.5", True),
        ("", "1", False),
    ],
)
def test_whether_an_answer_stands_in_a_text(text, answer, there):
    assert says(text, answer) == there


def test_reference_programs_run(pool):
    problems = make("programs", "train", 4, steps=2)
    assert check(problems, sandbox=pool).faults == []
    wrong = dataclasses.replace(problems[0], tests={**problems[0].tests, "solution": "def f(x):\n    return None"})
    [fault] = check([wrong], sandbox=pool).faults
    assert (fault.kind, fault.why.split(":")[0]) == ("reference", "wrong")


@pytest.fixture(scope="module")
def pool():
    from rlvr_graders.sandbox.levels import make_pool
    from rlvr_graders.sandbox.worker import WorkerLost

    try:
        made = make_pool("landlock", 1)
    except WorkerLost as lost:
        pytest.skip(f"no Landlock here: {lost}")
    with made:
        yield made


# --- lengths


def test_lengths_are_in_tokens_and_steps_add_up(tokenizer):
    problems = make("chains", "train", 8, steps=(2, 4))
    found = {measure.what: measure for measure in lengths(problems, tokenizer)}
    assert sum(found["step"].values) == sum(found["trace"].values)
    assert list(found["steps per trace"].values) == [p.difficulty for p in problems]
    assert all(0 < share < 1 for share in found["revealable share"].values)
    assert found["trace"].summary["max"] == max(found["trace"].values)
    assert {m.what for m in lengths([Problem("k", "plain")], tokenizer)} == {"prompt"}


# --- pass rates


def right_when_long(completions, answer, tests):
    return [float(len(c[0]["content"]) % 2) for c in completions]


@pytest.fixture
def student(checkpoint):
    from g2rpo.evaluation.checkpoint import load_checkpoint

    return load_checkpoint(checkpoint("qwen3", initializer_range=0.3))


def test_pass_rates_resume_to_the_same_bytes(student, tmp_path):
    problems = make("chains", "train", 6, steps=(1, 3))
    settings = {"k": 3, "max_tokens": 8, "rows": 6}
    rates = measure(student, problems, right_when_long, tmp_path / "whole.jsonl", **settings)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert set(rates) == {p.key for p in problems}
    assert set(rates.values()) <= {0, 1 / 3, 2 / 3, 1}
    # Killed in the middle of its fourth line.
    measure(student, problems[:1], right_when_long, tmp_path / "part.jsonl", **settings)
    lines = whole.splitlines(keepends=True)
    (tmp_path / "part.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:20])
    assert measure(student, problems, right_when_long, tmp_path / "part.jsonl", **settings) == rates
    assert (tmp_path / "part.jsonl").read_bytes() == whole
    with pytest.raises(RunError, match=r"k of .*part.jsonl is \{'k': 3\}. Expected what is asked for now: \{'k': 4\}"):
        measure(student, problems, right_when_long, tmp_path / "part.jsonl", k=4, max_tokens=8)
    with pytest.raises(ConfigError, match="k is 0"):
        measure(student, problems, right_when_long, tmp_path / "none.jsonl", k=0)


def test_what_was_not_scored_is_not_written_and_tried_again(student, tmp_path):
    problems = make("chains", "train", 2, steps=1)

    def blind(completions, answer, tests):
        return [None if a == problems[0].answer else 1.0 for a in answer]

    assert measure(student, problems, blind, tmp_path / "r.jsonl", k=2, max_tokens=4) == {problems[1].key: 1.0}
    file = PassRates(tmp_path / "r.jsonl", json.loads((tmp_path / "r.jsonl.settings.json").read_text()))
    assert list(file.done) == [problems[1].key]


# --- commands


def run(*words):
    result = CliRunner().invoke(app, ["data", *map(str, words)])
    if isinstance(result.exception, G2RPOError):
        raise result.exception
    return result


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"question": f"How many are {i} and {i}?", "answer": f"{i}+{i}=<<{i}+{i}={2 * i}>>{2 * i}\nIn all {2 * i}.\n#### {2 * i}"}
        for i in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_show_marks_where_the_guard_stops(rows_file):
    shown = run("show", rows_file, "--limit", "2").stdout
    assert "=== gsm8k:How many are 1 and 1?" in shown
    assert "[step 1] 1+1=⟨guard⟩2" in shown
    assert "[answer] 2" in shown


def test_check_lists_faults_and_says_so_in_its_exit_code(rows_file, tmp_path):
    done = run("check", rows_file)
    assert (done.exit_code, "5 problems, 5 reference solutions graded, 5 traces in 10 steps" in done.stdout) == (0, True)
    with rows_file.open("a") as file:
        file.write(json.dumps({"question": "How many are 1 and 1?", "answer": "so \\boxed{3}\n#### 2"}) + "\n")
    done = run("check", rows_file, "--out", tmp_path / "faults.jsonl")
    assert done.exit_code == 1
    assert "duplicate 1" in done.stdout
    assert [json.loads(line)["kind"] for line in (tmp_path / "faults.jsonl").read_text().splitlines()] == [
        "trace"
    ] or "trace 1" in done.stdout


def test_stats_are_in_the_models_tokens(rows_file):
    assert "5 problems, 5 with a trace; tokens of builtin" in run("stats", rows_file).stdout


def test_decontaminate_writes_what_is_left(rows_file, tmp_path):
    test = tmp_path / "held_out.jsonl"
    test.write_text(json.dumps({"prompt": "HOW MANY ARE 3, AND 3?", "answer": "6"}) + "\n")
    out = tmp_path / "kept.jsonl"
    assert run("decontaminate", rows_file, test).exit_code == 1
    done = run("decontaminate", rows_file, test, "--out", out)
    assert (done.exit_code, len(out.read_text().splitlines())) == (0, 4)
    assert "1 of 5 problems share 13 words" in done.stdout
    assert run("check", out).exit_code == 0


def test_traces_drops_wrong_ones_and_takes_the_shortest(tmp_path):
    row = {
        "problem": "P",
        "answer": "4",
        "uuid": "u",
        "source": "amc_aime",
        "is_reasoning_complete": [True] * 3,
        "correctness_math_verify": [True] * 3,
        "generations": ["<think>\\boxed{5}</think>", "<think>2+2=4</think>", "<think>2+2 = 4, I think</think>"],
    }
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    assert "1 wrong traces dropped" in run("traces", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl").stdout
    assert json.loads((tmp_path / "b.jsonl").read_text())["trace"] == "2+2=4"
    run("traces", tmp_path / "a.jsonl", "--out", tmp_path / "c.jsonl", "--pick", "first")
    assert json.loads((tmp_path / "c.jsonl").read_text())["trace"] == "2+2=4"


def test_gpqa_is_never_written(tmp_path):
    row = {"Question": "Q", "Correct Answer": "r", **{f"Incorrect Answer {i}": f"w{i}" for i in (1, 2, 3)}, "Record ID": "x"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(G2RPOError, match="authors ask not to make any"):
        run("traces", tmp_path / "a.jsonl", "--out", tmp_path / "b.jsonl")


def test_difficulty_of_a_recipe_becomes_its_curriculum(tmp_path):
    from g2rpo.training.run.recipe import read_yaml, resolve

    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "task: chains\ntask_steps: [1, 4]\ntask_size: 6\nrewards: [exact]\nmax_completion_length: 24\nuse_cpu: true\nbf16: false\n"
    )
    out = tmp_path / "rates.jsonl"
    assert "6 problems" in run("difficulty", recipe, "--out", out, "--k", "2").stdout
    made = resolve({**read_yaml(recipe), "curriculum": "easy_to_hard", "curriculum_by": "pass_rate", "curriculum_file": str(out)})
    rates = {row["key"]: row["pass_rate"] for row in map(json.loads, out.read_text().splitlines())}
    ordered = [rates[p.key] for p in made.data.in_curriculum(made.data.problems(), 0)]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check", "gsm9k"], "Did you mean 'gsm8k'"),
        (["show", "gsm8k", "--data", "/nowhere"], "gsm8k/ among them"),
        (["show", "x.jsonl", "--columns", "prompt"], "--columns is 'prompt'"),
        (["stats", "gsm8k", "--split", "dev"], "a split of gsm8k"),
    ],
)
def test_mistakes_are_sentences(words, message):
    with pytest.raises(G2RPOError, match=message):
        run(*words)


def test_every_known_set_is_listed():
    from g2rpo.data.catalog import CATALOG

    assert [line.split()[0] for line in run("list").stdout.splitlines()] == list(CATALOG)


@pytest.mark.skipif(not os.environ.get("G2RPO_DATA"), reason="G2RPO_DATA is not set")
@pytest.mark.parametrize(
    ("name", "problems"), [("gsm8k", "7473 problems, 7473 reference"), ("humaneval", "164 problems, 164 reference")]
)
def test_real_data_has_no_faults(name, problems, data_folder):
    done = run("check", name, "--data", data_folder)
    assert (done.exit_code, problems in done.stdout) == (0, True), done.stdout


def test_a_recipe_is_checked_as_it_would_be_trained_on_and_fields_can_follow(tmp_path):
    rows = [
        {"question": f"What is {i}+1?", "final": str(i + 1), "solution": f"We add 1.\n{i}+1={i + 1}\nDone."} for i in range(5)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"dataset_path: {tmp_path / 'mine.jsonl'}\ncolumns: {{prompt: question, answer: final, trace: solution}}\n"
        "dataset_limit: 4\nmax_completion_length: 512\noutput_dir: runs/x\nuse_cpu: true\nbf16: false\n"
    )
    assert "problems: 4 problems" in run("check", recipe).output
    assert "problems: 2 problems" in run("check", recipe, "--limit", 2).output
    assert "problems: 3 problems" in run("check", recipe, "--dataset_limit", "3").output
    assert (
        "trace longer than the budget: 4 of 4 problems, rows 1, 2, 3 and 4"
        in run("check", recipe, "--max_completion_length", "8").output
    )
    # The recipe's guard: what `off` reveals is no leak, and `show` marks no place where it stops.
    assert "⟨guard⟩" in run("show", recipe).output
    assert "⟨guard⟩" not in run("show", recipe, "--guidance_leak_guard", "off").output
    with pytest.raises(G2RPOError, match=r"recipe field is 'max_completion_lenght'.*max_completion_length"):
        run("check", recipe, "--max_completion_lenght", "8")
    with pytest.raises(G2RPOError, match=r"column.*nothing"):
        run("check", recipe, "--columns", "prompt=nothing")
    with pytest.raises(G2RPOError, match=r"option is '--dataset_limit'. Expected an option of this command"):
        run("check", tmp_path / "mine.jsonl", "--dataset_limit", "3")
