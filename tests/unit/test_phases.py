"""The phase clock: which moment is charged to which phase, and that the phases add up to the step."""

import time
from collections import defaultdict
from types import SimpleNamespace

import pytest

from g2rpo import GuidedGRPOTrainer
from g2rpo.training.run import phase_times as phases
from g2rpo.training.run.phase_times import PHASES, PhaseClock, in_words, total


class Hands:
    """A clock that only moves when told to."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class Steps:
    """The calls that TRL's trainer makes in a step, each of a known duration: a power of two of milliseconds."""

    def __init__(self, hands, micro_batches=2):
        self.hands, self.micro_batches = hands, micro_batches
        self.model, self.accelerator = SimpleNamespace(training=True), SimpleNamespace(sync_gradients=False)
        self._metrics = {"train": defaultdict(list)}
        self.args = SimpleNamespace(device=SimpleNamespace(type="cpu"))
        self.callback = None

    def add_callback(self, callback):
        self.callback = callback

    def spend(self, milliseconds):
        self.hands.now += milliseconds / 1000

    def training_step(self, micro_batch):
        self._prepare_inputs(micro_batch)
        self._get_per_token_logps_and_entropies()
        self.spend(16)

    def _prepare_inputs(self, micro_batch):
        if micro_batch == 0:
            self._generate_single_turn()
            self.spend(1)
            self._get_per_token_logps_and_entropies()
            self._calculate_rewards()

    def _generate_single_turn(self):
        self.spend(2)

    def _calculate_rewards(self):
        self.spend(4)

    def _get_per_token_logps_and_entropies(self):
        self.spend(8)

    def step(self):
        self.spend(32)  # the data loader
        for micro_batch in range(self.micro_batches):
            self.accelerator.sync_gradients = micro_batch == self.micro_batches - 1
            self.training_step(micro_batch)
        self.spend(64)  # clipping and optimizer
        self.callback.on_step_end(self.args, None, None)

    def log(self):
        logged = {k: sum(v) / len(v) for k, v in self._metrics["train"].items()}
        self._metrics["train"].clear()
        self.callback.on_log(self.args, None, None, logs={"loss": 0.0, **logged})
        return logged


@pytest.fixture
def steps(monkeypatch):
    hands = Hands()
    monkeypatch.setattr(phases, "time", hands)
    return Steps(hands)


def milliseconds(seconds):
    return {name: round(1000 * value) for name, value in seconds.items()}


STEP = {"decode": 2, "reward": 4, "logprobs": 8, "update": 2 * (8 + 16) + 64, "other": 32 + 1}


def test_a_step_is_charged_by_phase(steps):
    clock = PhaseClock(steps)
    steps.step()
    assert milliseconds(clock.read()) == STEP


def test_a_line_holds_what_was_spent_since_the_line_before(steps):
    clock = PhaseClock(steps)
    steps.step()
    first = steps.log()
    steps.step()
    steps.step()
    second = steps.log()
    assert milliseconds(first) == {f"time/{name}_s": value for name, value in STEP.items()}
    assert milliseconds(second) == {f"time/{name}_s": 2 * value for name, value in STEP.items()}
    assert total([{"metrics": first}, {"metrics": second}, {"metrics": {}}]) == pytest.approx(clock.read())


def test_the_time_between_two_steps_is_other(steps):
    PhaseClock(steps)
    steps.step()
    steps.log()
    steps.spend(500)  # a checkpoint
    steps.step()
    assert milliseconds(steps.log())["time/other_s"] == STEP["other"] + 500


def test_evaluation_is_other(steps):
    clock = PhaseClock(steps)
    steps.model.training = False
    steps._prepare_inputs(0)
    assert milliseconds(clock.read()) == {**dict.fromkeys(PHASES, 0), "other": 15}


def test_an_error_leaves_the_phase_it_was_in(steps):
    def fail():
        steps.spend(2)
        raise ValueError

    steps._calculate_rewards = fail
    clock = PhaseClock(steps)
    with pytest.raises(ValueError):
        steps._calculate_rewards()
    steps.spend(1)
    assert milliseconds(clock.read()) == {**dict.fromkeys(PHASES, 0), "reward": 2, "other": 1}


def test_in_words():
    assert in_words({"decode": 3.0, "update": 1.0}) == "4.0 s: decode 75%, update 25%"
    assert in_words({"decode": 0.0}) == "0.0 s: decode 0%"


@pytest.mark.parametrize("controller", ["none", "profile"])
def test_a_run_is_timed_phase_by_phase(make_model, tokenizer, rows, config, controller):
    inside = []

    def slow_reward(completions, **columns):
        began = time.perf_counter()
        time.sleep(0.05)
        inside.append(time.perf_counter() - began)
        return [float(len(c[0]["content"]) % 7) for c in completions]

    args = config(guidance_controller=controller, gradient_accumulation_steps=2, num_iterations=2, max_steps=4)
    trainer = GuidedGRPOTrainer(make_model(), [slow_reward], args, rows(8), processing_class=tokenizer)
    began = time.perf_counter()
    trainer.train()
    took = time.perf_counter() - began
    lines = [line for line in trainer.state.log_history if "loss" in line]
    spent = total({"metrics": line} for line in lines)
    assert all(line["time/update_s"] > 0 for line in lines)
    # A generation batch feeds two optimizer steps: log-probs of the old policy, rewards and decoding come with the first of them.
    for line, generates in zip(lines, [True, False, True, False], strict=True):
        for phase in ("decode", "reward", "logprobs"):
            assert (line[f"time/{phase}_s"] > 0) is generates, (phase, line)
    assert 0.1 <= sum(inside) <= spent["reward"] <= took - spent["decode"] - spent["update"]
    assert sum(spent.values()) <= took
