"""The run directory: lines that survive a kill, a rewind, a full disk."""

import errno
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from g2rpo.data.problem import Problem
from g2rpo.errors import RunError
from g2rpo.training.run.run_directory import RunDirectory, StepRecord, manifest

PROBLEMS = [Problem("a", "q", "1", "t"), Problem("b", "q2", "2", "u")]


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create({"x": 1}, manifest(PROBLEMS, 3), False)
    return directory


def write_steps(run, *steps):
    for step in steps:
        run.append(StepRecord(step, {"loss": 0.5, "odd": None}, {"length": 3.0}, 1.25))


def rollout(**changes):
    row = {
        "prompt_ids": [1, 2],
        "completion_ids": [3, 4, 5],
        "guidance_tokens": 1,
        "prompt": "q",
        "completion": "c",
        "rewards": {"accuracy": 1.0},
        "key": "a",
        "rollout_index": 0,
    }
    return {**row, **changes}


def test_config_and_manifest_are_written(run):
    assert json.loads((run.path / "resolved.json").read_text()) == {"x": 1}
    written = json.loads((run.path / "manifest.json").read_text())
    assert (written["seed"], written["problems"]) == (3, 2)
    assert {"torch", "transformers", "trl"} <= set(written["versions"])


def test_the_manifest_tells_data_sets_apart():
    one, two = manifest(PROBLEMS, 0)["data_digest"], manifest(PROBLEMS[::-1], 0)["data_digest"]
    assert one != two
    assert manifest(PROBLEMS, 1)["data_digest"] == one


def test_steps_come_back_as_written(run):
    write_steps(run, 1, 2)
    assert run.steps() == [
        {"step": s, "metrics": {"loss": 0.5, "odd": None}, "controller": {"length": 3.0}, "wall_s": 1.25} for s in (1, 2)
    ]


@pytest.mark.parametrize("torn", ['{"step": 3, "metr', '{"step": 3}{"st', "\x00\x00\x00"])
def test_a_torn_last_line_is_not_a_step(run, torn):
    write_steps(run, 1, 2)
    with run.steps_file.open("a") as file:
        file.write(torn)
    assert [r["step"] for r in run.steps()] == [1, 2]


def test_steps_of_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"run directory is .*Expected a file steps.jsonl. Check the path"):
        RunDirectory(tmp_path).steps()


def test_a_rewind_drops_what_came_after_the_checkpoint(run):
    write_steps(run, 1, 2, 3, 4)
    with run.steps_file.open("a") as file:
        file.write('{"torn')
    for generation in range(4):
        run.write_rollouts(generation, [rollout()])
    run.rewind(step=2, generations=2)
    assert [r["step"] for r in run.steps()] == [1, 2]
    assert sorted(f.stem for f in run.rollouts.glob("*")) == ["generation_000000", "generation_000001"]
    write_steps(run, 3)
    assert [r["step"] for r in run.steps()] == [1, 2, 3]


def test_a_rewind_of_a_run_that_logged_nothing_is_harmless(run):
    run.rewind(0, 0)
    assert not run.steps_file.exists()


def test_a_second_run_in_the_same_directory_is_refused(run):
    write_steps(run, 1)
    with pytest.raises(RunError, match=r"output_dir is .*Expected a directory without a run.*--resume"), run.claimed():
        pass
    run.create({"x": 2}, manifest(PROBLEMS, 0), True)
    assert [r["step"] for r in run.steps()] == [1]


def test_a_run_that_is_refused_leaves_no_empty_directory(tmp_path):
    with pytest.raises(KeyError), RunDirectory(tmp_path / "runs" / "new").claimed():
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_directory_that_was_there_or_is_not_empty_stays(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyError), RunDirectory(tmp_path / "old").claimed():
        raise KeyError
    with pytest.raises(KeyError), RunDirectory(tmp_path / "new").claimed():
        raise KeyError((tmp_path / "new" / "file").write_text("x"))
    assert {p.name for p in tmp_path.iterdir()} == {"old", "new"}


@pytest.mark.parametrize(("place", "message"), [("file", "a directory; this is a file"), ("file/run", "a directory with room")])
def test_an_output_dir_that_is_a_file(tmp_path, place, message):
    (tmp_path / "file").write_text("mine")
    with (
        pytest.raises(RunError, match=f"output_dir is .*Expected {message}.*Choose another output_dir"),
        RunDirectory(tmp_path / place).claimed(),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_rollouts_know_where_each_token_came_from(run):
    run.write_rollouts(7, [rollout(), rollout(guidance_tokens=0, completion_ids=[9])])
    table = pq.read_table(run.rollouts / "generation_000007.parquet").to_pylist()
    assert table[0]["token_ids"] == [1, 2, 3, 4, 5]
    assert table[0]["token_origin"] == [0, 0, 1, 2, 2]
    assert table[1]["token_origin"] == [0, 0, 2]
    assert json.loads(table[0]["rewards"]) == {"accuracy": 1.0}
    assert {r["generation"] for r in table} == {7}


def test_rollouts_do_not_change_the_rows_they_are_given(run):
    row = rollout()
    run.write_rollouts(0, [row])
    assert row == rollout()


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def expect_full_disk():
    return pytest.raises(
        RunError, match=r"writing .* is 'No space left on device'. Expected room and permission.*Free some space.*--resume"
    )


def test_a_full_disk_while_appending(run, monkeypatch):
    write_steps(run, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with expect_full_disk():
            write_steps(run, 2)
    assert [r["step"] for r in run.steps()] == [1]


def test_a_full_disk_while_writing_rollouts_leaves_no_half_file(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with expect_full_disk():
            run.write_rollouts(0, [rollout()])
    assert not list(run.rollouts.glob("*.parquet"))


def test_a_full_disk_while_creating(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full)
    with expect_full_disk():
        RunDirectory(tmp_path / "new").create({}, manifest(PROBLEMS, 0), False)


def test_a_full_disk_while_rewinding(run, monkeypatch):
    write_steps(run, 1, 2)
    monkeypatch.setattr(Path, "write_text", full)
    with expect_full_disk():
        run.rewind(1, 1)


def test_an_error_that_is_not_the_disks_stays_what_it_is(run):
    with pytest.raises(TypeError):
        run.append(StepRecord(1, {"loss": object()}))


@pytest.mark.parametrize("left", ["steps.jsonl", "checkpoint-4", "adapter_model.safetensors"])
def test_a_new_run_does_not_begin_on_top_of_another(tmp_path, left):
    (tmp_path / left).touch()
    with pytest.raises(RunError, match=f"it holds {left}"), RunDirectory(tmp_path).claimed():
        pass
