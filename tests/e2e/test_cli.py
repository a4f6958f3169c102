"""The command line as a user meets it: whole runs on a tiny model, what they leave behind, and what mistakes are told."""

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from g2rpo.cli.doctor import run_doctor
from g2rpo.cli.fields import fields as print_fields
from g2rpo.cli.main import app


def g2rpo(*arguments: str, cwd: Path | None = None, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "g2rpo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=timeout, env={**os.environ, **env})


def noise(done: subprocess.CompletedProcess) -> list[str]:
    """What the libraries below say while they load and save."""
    return [words for words in ("Loading weights", "model shards", "is deprecated", "examples/s") if words in done.stderr]


def refusal(*arguments: str | Path) -> str:
    """The sentence that a command is refused with, run in this process."""
    with pytest.raises(SystemExit) as stopped, contextlib.redirect_stderr(io.StringIO()) as told:
        app([*map(str, arguments)], standalone_mode=False)
    assert stopped.value.code == 2
    [line] = told.getvalue().strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def recipe(tmp_path, checkpoint):
    """A recipe file for three tiny steps."""
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"""
model_name_or_path: {checkpoint("qwen3")}
task: chains
task_steps: [3]
task_size: 32
rewards: [accuracy, format]
reward_weights: [1.0, 0.1]
num_generations: 4
guidance_controller: profile  # guides half of each group from the first step on
per_device_train_batch_size: 8
max_completion_length: 48
max_steps: 4
learning_rate: 1e-3
use_cpu: true
bf16: false
report_to: none
save_strategy: steps
save_steps: 2
output_dir: {tmp_path / "run"}
"""
    )
    return path


def test_train_show_and_resume(recipe, tmp_path):
    done = g2rpo("train", str(recipe))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "step 4/4" in done.stdout  # plain lines where the output is not a terminal
    assert not noise(done)
    run = tmp_path / "run"
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [s["step"] for s in steps] == [1, 2, 3, 4]
    wanted = {
        "guidance/success/unguided",
        "guidance/success/gap",
        "guidance/advantage/guided_mass",
        "guidance/groups/solve_none",
        "guidance/groups/zero_std",
        "guidance/advantage/std",
        "guidance/tokens/sampled",
        "guidance/tokens/prefilled",
        "guidance/tokens/trained",
        "loss",
        "reward",
    }
    assert wanted <= set(steps[0]["metrics"])
    assert set(steps[0]["controller"]) == {"successes", "failures"}
    assert json.loads((run / "resolved.json").read_text())["training"]["guidance_controller"] == "profile"
    assert json.loads((run / "manifest.json").read_text())["problems"] == 32
    rows = pq.read_table(run / "rollouts" / "generation_000000.parquet").to_pylist()
    assert len(rows) == 8
    guided = next(r for r in rows if r["guided"])
    assert guided["token_origin"].count(1) == guided["guidance_tokens"] > 0
    assert len(guided["token_origin"]) == len(guided["token_ids"])
    assert all(row["answer"].isdigit() for row in rows)
    assert all(row["answer"] in row["completion"] for row in rows if row["success"] == 1)

    shown = g2rpo("show", str(run))
    assert shown.returncode == 0, shown.stderr
    assert "⟦<think>" in shown.stdout
    assert "unguided" in shown.stdout

    again = g2rpo("train", str(recipe))
    assert again.returncode == 2
    assert "--resume" in again.stderr
    # As if killed after step 3: the last checkpoint is removed, lines and rollouts past step 2 stay behind.
    for file in (run / "checkpoint-4").rglob("*"):
        file.unlink()
    (run / "checkpoint-4").rmdir()
    before = (run / "steps.jsonl").read_text().splitlines()
    resumed = g2rpo("train", str(recipe), "--resume")
    assert resumed.returncode == 0, resumed.stderr[-2000:]
    after = (run / "steps.jsonl").read_text().splitlines()
    assert after[:2] == before[:2]

    def comparable(line):
        record = json.loads(line)
        return record["step"], record["controller"], record["metrics"]["loss"], record["metrics"]["reward"]

    assert [comparable(a) for a in after] == [comparable(b) for b in before]


def test_sft_from_the_same_recipe(recipe, tmp_path):
    done = g2rpo("sft", str(recipe), "--output_dir", str(tmp_path / "sft"), "--save_strategy", "no")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "sft" / "model.safetensors").exists()
    assert not noise(done)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--guidance_ratoi", "0.5"], ["guidance_ratoi", "Did you mean 'guidance_ratio'"]),
        (["--guidance_ratio", "1.5"], ["guidance_ratio is 1.5", "[0, 1]"]),
        (["--num_generations", "1"], ["num_generations is 1", "at least 2"]),
        (["--guidance_controller", "papr"], ["papr", "Did you mean 'paper'"]),
        (["--guidance_reward", "speed"], ["speed", "accuracy_reward"]),
        (["--task", "chainz"], ["chainz", "Did you mean 'chains'"]),
        (["--rewards", "acuracy"], ["acuracy", "Did you mean 'accuracy'"]),
        (["--learning_rate", "fast"], ["learning_rate is 'fast'", "a number"]),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_runs(recipe, tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        app(["train", str(recipe), *flags], standalone_mode=False)
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for word in words:
        assert word in message
    assert not (tmp_path / "run" / "steps.jsonl").exists()


def test_help_is_quick():
    g2rpo("--help")  # the first call may compile
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert g2rpo("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Processor time: on a machine that does other things, the clock says nothing.
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 0.5


@pytest.mark.parametrize(
    "command",
    [
        ["train"],
        ["sft"],
        ["demo"],
        ["compare"],
        ["report"],
        ["show"],
        ["doctor"],
        ["fields"],
        ["grade", "math"],
        ["grade", "code"],
        ["eval"],
        ["compare-evals"],
    ],
)
def test_every_command_explains_itself(command):
    done = CliRunner().invoke(app, [*command, "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout


@pytest.mark.parametrize("group", [[], ["data"], ["grade"]])
def test_the_list_of_commands_is_not_cut(group):
    done = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    assert "..." not in done.stdout.partition("Commands:")[2]


def test_doctor_says_what_is_here(capsys):
    assert run_doctor() == 0
    assert "torch" in capsys.readouterr().out


def test_fields_lists_ours_and_trls(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    print_fields("guidance_ratio")
    print_fields("learning_rate")
    shown = capsys.readouterr().out
    assert "alpha" in shown
    assert "5e-05" in shown or "1e-06" in shown


def test_grade_math_reads_pairs_and_writes_verdicts(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"id": "a", "gold": "1/2", "completion": "so \\\\boxed{0.5}"}\n{"id": "b", "gold": "3", "completion": "<answer>4</answer>"}\n'
    )
    done = CliRunner().invoke(app, ["grade", "math", "--input", str(pairs), "--output", str(tmp_path / "out.jsonl")])
    assert done.exit_code == 0, done.output
    verdicts = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(v["id"], v["verdict"], v["score"]) for v in verdicts] == [("a", "equal", 1.0), ("b", "different", 0.0)]


PAIR = '{"id": "a", "gold": "1/2", "completion": "so \\\\boxed{0.5}"}\n'
PROBLEM = '{"question": "What is 1+1?", "final": "2"}\n{"question": "What is 2+2?", "final": "4"}\n'


@pytest.mark.parametrize("command", ["math", "code"])
def test_grading_never_overwrites_what_it_reads(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    source = Path("pairs.jsonl")
    source.write_text(PAIR)
    Path("link.jsonl").symlink_to(source)
    Path("hard.jsonl").hardlink_to(source)
    Path("folder").mkdir()
    for other in ("pairs.jsonl", "./pairs.jsonl", "folder/../pairs.jsonl", "link.jsonl", "hard.jsonl", source.resolve()):
        assert "another file than the one that is read" in refusal("grade", command, "--input", source, "--output", other)
        assert "another file than the one that is read" in refusal("grade", command, "--input", other, "--output", source)
    assert source.read_text() == PAIR
    Path("old.jsonl").write_text("verdicts of yesterday")
    refusal("grade", command, "--input", "absent.jsonl", "--output", "old.jsonl")
    assert Path("old.jsonl").read_text() == "verdicts of yesterday"


def test_data_commands_never_overwrite_what_they_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name in ("mine.jsonl", "mine/train.jsonl", "test.jsonl"):
        Path(name).write_text(PROBLEM)
    Path("mine.yaml").write_text("dataset_path: mine.jsonl\n")
    mine = ("mine.jsonl", "--columns", "prompt=question,answer=final")
    for arguments in (
        ("check", *mine, "--out", "./mine.jsonl"),
        ("traces", *mine, "--out", "mine.jsonl"),
        ("traces", "mine", *mine[1:], "--out", "mine/train.jsonl"),
        ("traces", "mine.yaml", "--out", "mine.jsonl"),
        ("difficulty", *mine, "--out", "mine.jsonl"),
        ("decontaminate", "mine.jsonl", "test.jsonl", *mine[1:], "--out", "mine.jsonl"),
        ("decontaminate", "mine.jsonl", "test.jsonl", *mine[1:], "--out", "test.jsonl"),
    ):
        assert "another file than the one that is read" in refusal("data", *arguments)
    assert Path("mine.jsonl").read_text() == Path("mine/train.jsonl").read_text() == Path("test.jsonl").read_text() == PROBLEM


def test_what_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text(PROBLEM)
    Path("pairs.jsonl").write_text(PAIR)
    Path("comparison.json").write_text("{}")
    nowhere = "mine.jsonl/below-a-file.json"
    for arguments in (
        ("grade", "math", "--input", "pairs.jsonl", "--output", nowhere),
        ("grade", "code", "--input", "pairs.jsonl", "--output", nowhere),
        ("data", "check", "mine.jsonl", "--columns", "prompt=question,answer=final", "--out", nowhere),
        ("data", "traces", "mine.jsonl", "--columns", "prompt=question,answer=final", "--out", nowhere),
        ("data", "difficulty", "mine.jsonl", "--columns", "prompt=question,answer=final", "--out", nowhere),
        ("simulate", "profile", "--output", nowhere),
        ("compare-evals", "a", "b", "--output", nowhere),
        ("eval", "builtin", "--suite", "chains", "--out", nowhere),
        ("report", "comparison.json", "--output", nowhere),
        ("demo", "--output", nowhere),
    ):
        message = refusal(*arguments)
        assert f"is '{nowhere}'. Expected a place that can be written (Not a directory)" in message, arguments
    assert "a file, not a folder" in refusal("grade", "math", "--input", "pairs.jsonl", "--output", tmp_path)
    assert sorted(os.listdir()) == ["comparison.json", "mine.jsonl", "pairs.jsonl"]


def test_a_file_may_be_written_into_a_folder_that_is_not_there_yet(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(PAIR)
    place = tmp_path / "new" / "below" / "verdicts.jsonl"
    done = CliRunner().invoke(app, ["grade", "math", "--input", str(tmp_path / "pairs.jsonl"), "--output", str(place)])
    assert done.exit_code == 0, done.output
    assert json.loads(place.read_text())["verdict"] == "equal"


def test_input_that_is_no_utf_8_is_told_by_its_line(tmp_path):
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(PAIR.encode() + '{"id": "é"}'.encode("latin-1"))
    for command in ("math", "code"):
        assert "Line 2 of" in (message := refusal("grade", command, "--input", latin))
        assert "UTF-8" in message
    (tmp_path / "comparison.json").write_bytes(b"\xff\xfe{}")
    assert "a comparison.json" in refusal("report", tmp_path)


def test_a_limit_of_nothing_and_an_unknown_pick_are_refused_at_once(tmp_path):
    (tmp_path / "mine.jsonl").write_text(PROBLEM)
    for command in (("show",), ("stats",), ("check",), ("traces", "--out", tmp_path / "out.jsonl")):
        for limit in ("-1", "0"):
            assert f"limit is {limit}. Expected a positive number" in refusal(
                "data", command[0], "gsm8k", *command[1:], "--limit", limit
            )
    # The set is not even there: the pick is looked at first.
    assert "shortest" in refusal(
        "data", "traces", "gsm8k", "--data", tmp_path, "--pick", "shortst", "--out", tmp_path / "out.jsonl"
    )


def test_numbers_and_places_that_cannot_be_meant(tmp_path):
    assert "limit is -1. Expected a positive number" in refusal("show", tmp_path, "--limit", "-1")
    assert "would overwrite one another" in refusal("report", tmp_path, tmp_path, "--output", tmp_path / "pages")
