"""Each tracker shows the guidance metrics and a table of rollouts with the guided part marked; skipped where it is not
installed."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.rollout_table import COLUMNS, RolloutTable
from g2rpo.training.run.train import train

METRICS = ("guidance/success/guided", "guidance/success/unguided", "guidance/length/tokens", "guidance/advantage/guided_mass")


def run(tmp_path: Path, tracker: str) -> None:
    train(
        resolve(
            {
                "task": "chains",
                "task_steps": 3,
                "task_size": 16,
                "num_generations": 4,
                "per_device_train_batch_size": 8,
                "max_completion_length": 64,
                "max_steps": 2,
                "guidance_controller": "profile",
                "save_strategy": "no",
                "output_dir": str(tmp_path / "run"),
                "run_name": "first",
                "project": "first-day",
                "use_cpu": True,
                "bf16": False,
                "report_to": tracker,
            }
        ),
        quiet=True,
    )


@pytest.mark.filterwarnings("ignore")
def test_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tb"))
    run(tmp_path, "tensorboard")
    [file] = [f for f in (tmp_path / "tb").rglob("events*")]
    events = EventAccumulator(str(file.parent)).Reload()
    assert {f"train/{name}" for name in METRICS} <= set(events.Tags()["scalars"])
    [text] = events.Tensors("rollouts/text_summary")
    told = text.tensor_proto.string_val[0].decode()
    assert "⟦" in told
    assert all(column in told for column in COLUMNS)


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_PROJECT", "first-day")
    run(tmp_path, "wandb")
    summary = dict(wandb.run.summary) if wandb.run is not None else {}
    wandb.finish()
    [table] = list(tmp_path.rglob("*.table.json"))
    assert "\\u27e6" in table.read_text() or "⟦" in table.read_text()
    assert not summary or {f"train/{name}" for name in METRICS} <= set(summary)


def test_trackio(tmp_path):
    pytest.importorskip("trackio", reason="trackio is not installed")
    fields = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 64, "max_steps": 2, "bf16": False}
    (tmp_path / "tiny.yaml").write_text(
        "task: chains\ntask_steps: [3]\ntask_size: 16\nguidance_controller: profile\nsave_strategy: no\nuse_cpu: true\nreport_to: trackio\nproject: first-day\n"
        + f"output_dir: {tmp_path / 'run'}\n"
        + "".join(f"{name}: {str(value).lower()}\n" for name, value in fields.items())
    )
    # A process of its own: the package decides where it writes when it is imported.
    done = subprocess.run(
        [sys.executable, "-m", "g2rpo", "train", str(tmp_path / "tiny.yaml")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio")},
    )
    assert done.returncode == 0, done.stderr
    kept = b"".join(f.read_bytes() for f in (tmp_path / "trackio").rglob("*") if f.is_file())
    assert all(name.encode() in kept for name in METRICS)
    assert b"rollouts" in kept


def test_a_table_marks_what_was_given(tokenizer, monkeypatch):
    written = []
    writer = SimpleNamespace(add_text=lambda tag, text, step: written.append((tag, text, step)))
    given, said = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("2+3=5\n", "5+4=9 | 9"))
    trainer = SimpleNamespace(
        args=SimpleNamespace(report_to=["tensorboard"]),
        _tokenizer=tokenizer,
        state=SimpleNamespace(global_step=7),
        callback_handler=SimpleNamespace(callbacks=[object(), SimpleNamespace(tb_writer=writer)]),
    )
    row = {
        "prompt": "2+3+4?",
        "answer": "9",
        "rollout_index": 0,
        "fraction": 0.5,
        "success": 1.0,
        "advantage": 0.25,
        "completion_ids": given + said,
        "guidance_tokens": len(given),
    }
    sink = RolloutTable(trainer)
    for generation in range(12):
        sink(generation, [row, {**row, "guidance_tokens": 0, "completion_ids": said}] * 10)
    assert [(tag, step) for tag, _, step in written] == [("rollouts", 7)] * 2
    lines = written[0][1].splitlines()
    assert len(lines) == 2 + 8
    assert lines[2] == "| 7 | 2+3+4? | 9 | 0 | 0.5 | ⟦2+3=5<br>⟧5+4=9 \\| 9 | 1 | 0.25 |"
    assert "⟦" not in lines[3]
    sink.writers = []
    sink(20, [row])
    assert len(written) == 2
