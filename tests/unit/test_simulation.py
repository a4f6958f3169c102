"""The simulator: the same numbers for the same arguments, learners that learn what they are paid for, files that can be read."""

import json
import random

import pytest

from g2rpo.errors import ConfigError
from g2rpo.lab.simulate.learner import Attempt, Chain, Logistic
from g2rpo.lab.simulate.simulation import SCENARIOS, scenario, simulate, stratified_advantages
from g2rpo.method.controllers import get_controller


def test_logistic_success_by_hand():
    learner = Logistic(skill=-2.0, lift=4.0, jump=1.0, critical=0.75)
    assert learner.success(0.5) == pytest.approx(0.5)  # -2 + 2
    assert learner.success(0.75, difficulty=2.0) == pytest.approx(0.5)  # -2 - 2 + 3 + 1
    assert learner.success(0.8, wrong_from=0.7) == 0


def test_chain_success_is_the_product_of_what_is_left():
    learner = Chain(segments=4, skill=0.0)
    assert [learner.success(x) for x in (0, 0.25, 0.49, 0.5, 1.0)] == [1 / 16, 1 / 8, 1 / 8, 1 / 4, 1]


def test_a_chain_learns_only_what_its_rollout_wrote():
    learner = Chain(segments=4, skill=0.0, rate=1.0)
    attempt = learner.attempt(random.Random(0), 0.5)
    assert attempt.first == 2
    learner.learn([attempt], [1.0])
    assert learner.skills[:2] == [0, 0]
    assert learner.skills[2] != 0
    learner = Chain(segments=4, skill=0.0, rate=1.0)
    learner.learn([Attempt(1, (0.5, -0.5), 0.0)], [2.0])
    assert learner.skills == [0, 1, -1, 0]


def test_scores_have_mean_zero():
    learner, draw = Chain(segments=3, skill=0.5), random.Random(0)
    tries = [learner.attempt(draw, 0.0) for _ in range(4000)]
    assert sum(t.scores[0] for t in tries) / 4000 == pytest.approx(0, abs=0.03)
    assert sum(t.reward for t in tries) / 4000 == pytest.approx(learner.success(0.0), abs=0.04)


def test_advantages_are_those_of_training():
    import torch

    from g2rpo.method.advantages import group_advantages

    draw = random.Random(0)
    for _ in range(20):
        rewards, guided = [float(draw.random() < 0.4) for _ in range(8)], [draw.random() < 0.5 for _ in range(8)]
        wanted = group_advantages(torch.tensor(rewards), torch.tensor(guided), 8, "stratified")
        assert stratified_advantages(rewards, guided) == pytest.approx(wanted.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_arguments_give_the_same_numbers(name):
    first, second = (simulate(get_controller("adaptive_profile"), scenario(name), steps=8, seed=3) for _ in range(2))
    assert first == second
    assert len(first.length) == len(first.unguided) == len(first.signal) == 8
    assert all(0 <= v <= 0.25 for v in first.signal)
    assert first != simulate(get_controller("adaptive_profile"), scenario(name), steps=8, seed=4)


def test_a_curriculum_gets_harder():
    keys = []
    simulate(get_controller("uniform"), scenario("curriculum"), steps=10, watch=lambda *a: keys.append(int(a[2][0].key)))
    assert keys == sorted(keys)
    assert keys[-1] > 200


def test_guided_training_leaves_the_ground_where_unguided_does_not():
    plain = simulate(get_controller("none"), scenario("chain-long"), steps=150)
    ours = simulate(get_controller("adaptive_profile"), scenario("chain-long"), steps=150, ratio=0.75)
    assert plain.final < 0.01
    assert ours.final > 2 * plain.final
    assert ours.tokens[-1] < plain.tokens[-1]


def test_unknown_scenarios_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'chain'"):
        scenario("chains")


def test_the_command_writes_what_its_file_name_says(tmp_path, capsys):
    from g2rpo.cli.simulate import simulate as run_simulation

    run_simulation("uniform", "all", "{}", 3, 1, 0.5, tmp_path / "all.json")
    printed = capsys.readouterr().out
    assert all(name in printed for name in SCENARIOS)
    assert [r["scenario"] for r in json.loads((tmp_path / "all.json").read_text())] == list(SCENARIOS)
    for name in ("one.svg", "two.svg", "one.png"):
        run_simulation("paper", "jump", '{"initial_length": 1536}', 3, 2, 0.5, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("uniform", "chain", "{}", 3, 1, 0.5, "x.pdf"), "output is 'x.pdf'"),
        (("uniform", "all", "{}", 1, 1, 0.5, "x.svg"), "scenario is 'all'"),
        (("uniform", "chain", "{", 3, 1, 0.5, None), "kwargs is '{'"),
        (("uniform", "chain", "[1]", 3, 1, 0.5, None), "a JSON object"),
        (("uniform", "chain", "{}", 0, 1, 0.5, None), "at least 1"),
        (("uniform", "chain", "{}", 3, 1, 1.5, None), "guidance_ratio is 1.5"),
        (("unifrm", "chain", "{}", 3, 1, 0.5, None), "Did you mean 'uniform'"),
    ],
)
def test_mistakes_are_told(arguments, message, tmp_path, monkeypatch):
    from pathlib import Path

    from g2rpo.cli.simulate import simulate as run_simulation

    monkeypatch.chdir(tmp_path)
    *rest, output = arguments
    with pytest.raises(ConfigError) as error:
        run_simulation(*rest, Path(output) if output else None)
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())
