"""Every preset trains, a rule of another package does, dynamic sampling fills a batch, and the control gives other traces."""

import dataclasses
import types

import pytest
import torch

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.data.trace_assignment import with_other_traces
from g2rpo.errors import ConfigError, DataError
from g2rpo.method.controllers import get_controller
from g2rpo.method.controllers.uniform import Uniform
from g2rpo.training.dynamic_sampling import assemble, choose, has_spread, more_problems
from g2rpo.training.presets import PRESETS, preset

SCALED = {
    name: {"guidance_controller_kwargs": {"initial_length": 12, "max_length": 24}}
    for name in ("g2rpo-a-paper", "g2rpo-a-released")
}


# In a run of two steps the hints end after the first, and would be short.
SCALED["uft"] = {"guidance_controller_kwargs": {"p_low": 0.9}}


def length_reward(completions, **columns):
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


@pytest.fixture
def trained(checkpoint, tokenizer, rows, config):
    def train(reward=length_reward, data=None, **fields):
        settings = {
            "num_generations": 8,
            "per_device_train_batch_size": 8,
            "max_completion_length": 64,
            "learning_rate": 1e-3,
            "seed": 1,
        }
        args = config(**{**settings, **fields})
        trainer = GuidedGRPOTrainer(checkpoint("qwen3"), [reward], args, data or rows(8), processing_class=tokenizer)
        trainer.train()
        return trainer

    return train


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_trains_two_steps(trained, make_model, name):
    # What leaves completions without an end out would leave out everything that a random model writes.
    fields = {**preset(name), **SCALED.get(name, {}), "mask_truncated_completions": False}
    trainer = trained(**fields)
    logs = [r for r in trainer.state.log_history if "loss" in r]
    assert len(logs) == 2
    # No group fails under this reward, so that those which wait for a failure never help.
    unguided = ("grpo", "dapo", "hpt", "scaf-grpo", "guide", "ghpo")
    assert name == "pope" or (sum(r["guidance/tokens/guidance"] for r in logs) > 0) == (name not in unguided)
    before = make_model().state_dict()
    assert any(not torch.equal(value, before[key]) for key, value in trainer.model.state_dict().items())


@dataclasses.dataclass(frozen=True)
class Theirs(Uniform):
    """A rule of another package: always one fifth."""

    def plan(self, state, ask):
        return 0.2


def test_a_rule_of_another_package_trains(trained, monkeypatch):
    entry = types.SimpleNamespace(name="theirs", load=lambda: Theirs)
    monkeypatch.setattr("g2rpo.method.controllers.entry_points", lambda group: [entry] if group == "g2rpo.controllers" else [])
    trainer = trained(guidance_controller="theirs", guidance_ratio=0.5)
    assert get_controller("theirs") == Theirs()
    logs = [r for r in trainer.state.log_history if "loss" in r]
    assert all(0 < r["guidance/length/fraction"] <= 0.2 for r in logs)
    with pytest.raises(ConfigError, match="Did you mean 'theirs'"):
        get_controller("their")


# --- the control


def test_every_problem_gets_the_trace_of_another_one(rows):
    data = rows(12)
    dealt = with_other_traces(data, "trace", 0)
    assert sorted(dealt["trace"]) == sorted(data["trace"])
    assert list(dealt["answer"]) == list(data["answer"])
    assert all(a != b for a, b in zip(dealt["trace"], data["trace"], strict=True))
    assert list(with_other_traces(data, "trace", 0)["trace"]) == list(dealt["trace"])
    assert list(with_other_traces(data, "trace", 1)["trace"]) != list(dealt["trace"])
    with pytest.raises(DataError, match="at least two"):
        with_other_traces(rows(1), "trace", 0)
    with pytest.raises(DataError, match="without streaming"):
        with_other_traces(data.to_iterable_dataset(), "trace", 0)


# --- dynamic sampling


def test_rounds_go_on_until_every_group_has_spread(trained):
    seen = []

    def reward(completions, **columns):
        seen.append([o[0]["content"] for o in completions])
        return [0.5] * len(completions) if len(seen) < 3 else length_reward(completions)

    trainer = trained(reward, dynamic_sampling_rounds=5, max_steps=1, guidance_controller="profile")
    [log] = [r for r in trainer.state.log_history if "loss" in r]
    assert log["guidance/rounds"] == 3
    assert log["guidance/rollouts_total"] == 24
    assert log["guidance/groups/zero_std"] == pytest.approx(2 / 3)
    assert trainer._generations == 1
    assert sum(
        map(sum, zip(trainer.controller_state.successes, trainer.controller_state.failures, strict=True))
    ) == pytest.approx(24)
    assert seen[0] != seen[1]
    assert log["grad_norm"] > 0


def test_rounds_are_used_up_when_nothing_has_spread(trained):
    trainer = trained(
        lambda completions, **columns: [0.0] * len(completions),
        dynamic_sampling_rounds=2,
        max_steps=1,
        guidance_controller="none",
        guidance_reward=0,
    )
    [log] = [r for r in trainer.state.log_history if "loss" in r]
    assert (log["guidance/rounds"], log["grad_norm"]) == (2, 0)


def test_batches_of_several_widths_are_assembled():
    def output(value, prompt, completion):
        full = torch.full
        return {
            "prompt_ids": full((4, prompt), value),
            "prompt_mask": full((4, prompt), 1),
            "completion_ids": full((4, completion), value),
            "completion_mask": full((4, completion), 1),
            "advantages": torch.arange(4) + 10.0 * value,
            "num_items_in_batch": torch.tensor(9),
        }

    batch = assemble([output(1, 2, 3), output(2, 3, 2)], [(1, 1), (0, 0)], 2, pad_id=7)
    assert batch["prompt_ids"].tolist() == [[2, 2, 2], [2, 2, 2], [7, 1, 1], [7, 1, 1]]
    assert batch["prompt_mask"].tolist() == [[1, 1, 1], [1, 1, 1], [0, 1, 1], [0, 1, 1]]
    assert batch["completion_ids"].tolist() == [[2, 2, 7], [2, 2, 7], [1, 1, 1], [1, 1, 1]]
    assert batch["completion_mask"].tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert batch["advantages"].tolist() == [22, 23, 10, 11]


def test_groups_with_spread_come_first_and_the_first_round_fills_the_rest():
    assert choose([[False, True, False], [True, False, False]]) == [(0, 1), (1, 0), (0, 0)]
    assert choose([[False, False], [True, True], [True, False]]) == [(1, 0), (1, 1)]


def test_spread_counts_scored_rewards_only():
    nan = float("nan")
    rewards = torch.tensor([0.1, 0.1, 0.0, 1.0, nan, 1.0, nan, nan, 0.30000001, 0.3])
    assert has_spread(rewards, 2) == [False, True, False, False, False]


def test_further_problems_are_distinct_and_the_same_for_any_number_of_processes():
    whole = more_problems(12, 4, 0, 1, 50, 0, 3, 1)
    halves = [more_problems(6 * 2, 4, rank, 2, 50, 0, 3, 1) for rank in (0, 1)]
    assert len(set(whole)) == 3
    assert all(whole[i : i + 4] == [whole[i]] * 4 for i in (0, 4, 8))
    assert len(set(halves[0]) | set(halves[1])) == 6
    assert more_problems(12, 4, 0, 1, 50, 0, 3, 2) != whole
    assert len(more_problems(8, 4, 0, 1, 1, 0, 0, 1)) == 8


def test_groups_must_lie_within_a_process(config):
    two_processes = types.SimpleNamespace(
        dynamic_sampling_rounds=2, per_device_train_batch_size=4, steps_per_generation=1, num_generations=8
    )
    with pytest.raises(ConfigError, match="whole groups in every process"):
        GuidedGRPOConfig._check_dynamic_sampling(two_processes)
    with pytest.raises(ConfigError, match="dynamic_sampling_rounds is 0"):
        config(dynamic_sampling_rounds=0)
