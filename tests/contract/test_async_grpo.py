"""What docs/async.md says of TRL's asynchronous trainer, as far as a processor can check it: when TRL changes, the page is old."""

import dataclasses
import inspect

import numpy as np
import pytest

pytest.importorskip("trl.experimental.async_grpo.packing")

from trl.experimental.async_grpo import async_rollout_worker, packing
from trl.experimental.async_grpo.async_grpo_config import AsyncGRPOConfig
from trl.experimental.async_grpo.async_grpo_trainer import AsyncGRPOTrainer, RolloutWorkerProtocol
from trl.experimental.async_grpo.async_rollout_worker import RolloutSample, _AsyncRolloutLoop

PROMPT, GUIDANCE, SAMPLED, GROUP = 10, 20, 5, 4


def guided_sample(i: int) -> dict:
    own = [1000 + 100 * i + k for k in range(SAMPLED)]
    ids = [*range(PROMPT), *range(500, 500 + GUIDANCE), *own]
    mask = [0] * (PROMPT + GUIDANCE) + [1] * SAMPLED
    return {
        "input_ids": np.array(ids),
        "completion_mask": np.array(mask),
        "old_log_probs": np.array([0.0] * (PROMPT + GUIDANCE) + [-0.5] * SAMPLED, dtype=np.float32),
        "advantage": float(i),
        "group_id": 7,
    }


def test_guidance_that_a_group_shares_is_forwarded_once_and_not_trained():
    row = packing.TreeRow()
    for i in range(GROUP):
        row.add(guided_sample(i))
    packed = row.pack()
    # The last shared token stands there once per branch.
    assert len(packed["input_ids"]) == PROMPT + GUIDANCE - 1 + GROUP * (1 + SAMPLED)
    assert len(packed["token_index"]) == GROUP * SAMPLED
    assert packed["old_log_probs"].tolist() == [-0.5] * (GROUP * SAMPLED)
    assert packed["advantages"].tolist() == [float(i) for i in range(GROUP) for _ in range(SAMPLED)]


def test_a_sample_has_one_advantage_and_the_config_one_objective():
    assert {f.name: f.type for f in dataclasses.fields(RolloutSample)}["advantage"] in (float, "float")
    names = {f.name for f in dataclasses.fields(AsyncGRPOConfig)}
    assert not names & {"beta", "loss_type", "scale_rewards"}
    assert {"max_staleness", "epsilon"} <= names


def test_generation_sees_the_prompt_alone_and_one_budget():
    assert list(inspect.signature(_AsyncRolloutLoop._generate_one).parameters) == [
        "self",
        "prompt",
        "tool_dict",
        "tools",
        "group_id",
    ]
    assert list(inspect.signature(_AsyncRolloutLoop._generate_one_turn).parameters) == ["self", "prompt_ids"]
    assert "random.getrandbits" in inspect.getsource(_AsyncRolloutLoop._generate_one_turn)


def test_a_worker_has_no_way_to_save_its_state():
    asked = {n for n, f in vars(RolloutWorkerProtocol).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert asked == {"start", "stop", "update_model_version", "check_health"}
    assert "isinstance(self.rollout_worker, AsyncRolloutWorker)" in inspect.getsource(AsyncGRPOTrainer._save_checkpoint)


def test_its_attention_is_a_kernel_for_accelerators():
    assert packing.TREE_ATTENTION == "tree_fa3"
    assert "flash-attn3" in inspect.getsource(packing._flash_attn)
    assert hasattr(async_rollout_worker, "AsyncRolloutWorker")
