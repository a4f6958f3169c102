"""Which checkpoint a run goes on from, and with how many processes."""

import json
from types import SimpleNamespace

import pytest

from g2rpo.errors import RunError
from g2rpo.training.run.checkpoint_state import STATE_FILE
from g2rpo.training.run.resuming import checkpoint_to_resume


@pytest.fixture
def args(tmp_path):
    folder = tmp_path / "checkpoint-2"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 2}))
    (folder / STATE_FILE).write_text(json.dumps({"processes": 4, "totals": {}}))
    return SimpleNamespace(output_dir=str(tmp_path), max_steps=6, max_sampled_tokens=None, world_size=4)


def test_as_many_processes_go_on(args):
    assert checkpoint_to_resume(args).endswith("checkpoint-2")


def test_another_number_of_processes_is_refused(args):
    args.world_size = 2
    with pytest.raises(
        RunError, match=r"number of processes is 2.*4: checkpoint-2 holds.*Resume with 4 processes, on any number"
    ):
        checkpoint_to_resume(args)
