"""Everything wrong with settings, alone or together, is a sentence before training starts."""

import pytest

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.errors import ConfigError
from tests.semantics.conftest import accuracy_reward, table


@pytest.mark.parametrize("alpha", [-0.5, 1.5])
def test_alpha_outside_0_and_1(config, alpha):
    with pytest.raises(ConfigError, match=rf"guidance_ratio is {alpha}. Expected a share of the group in \[0, 1\]"):
        config(guidance_ratio=alpha)


def test_alpha_that_guides_nobody(config):
    with pytest.raises(ConfigError, match=r"guidance_ratio is 0.1. Expected at least 0.125, or 0"):
        config(guidance_ratio=0.1)


@pytest.mark.parametrize("group_size", [1, 0])
def test_a_group_of_one(config, group_size):
    with pytest.raises(ConfigError, match=f"num_generations is {group_size}. Expected at least 2 rollouts per problem"):
        config(num_generations=group_size)


@pytest.mark.parametrize(("group_size", "alpha", "guided"), [(4, 0.25, 1), (4, 0.75, 3), (2, 0.5, 1), (3, 0.5, 2)])
def test_a_stratum_of_one(config, group_size, alpha, guided):
    with pytest.raises(ConfigError, match=rf"guidance_advantages is 'stratified'.*makes {guided} guided.*Use joint"):
        config(num_generations=group_size, guidance_ratio=alpha, per_device_train_batch_size=12, guidance_controller="profile")
    args = config(
        num_generations=group_size,
        guidance_ratio=alpha,
        per_device_train_batch_size=12,
        guidance_controller="profile",
        guidance_advantages="joint",
    )
    assert args.guided


@pytest.mark.parametrize(
    "fields",
    [
        {"num_generations": 2},
        {"num_generations": 3},
        {"num_generations": 3, "guidance_advantages": "joint"},
        {"guidance_ratio": 0.25, "guidance_advantages": "joint"},
    ],
    ids=str,
)
def test_a_group_in_which_an_adaptive_share_would_guide_nobody(config, fields):
    with pytest.raises(ConfigError, match=r"num_generations is \d. Expected groups in which adaptive_profile may guide two"):
        config(per_device_train_batch_size=12, **fields)


def test_stratified_with_another_aggregation(config):
    with pytest.raises(ConfigError, match="multi_objective_aggregation is 'normalize_then_sum'"):
        config(multi_objective_aggregation="normalize_then_sum")


def test_columns_that_would_be_removed(config):
    with pytest.raises(ConfigError, match="remove_unused_columns is True"):
        config(remove_unused_columns=True)


@pytest.mark.parametrize("fields", [{"use_vllm": True}, {"use_transformers_continuous_batching": True}])
def test_seeded_sampling_where_the_engine_draws_itself(config, fields):
    with pytest.raises(ConfigError, match="guidance_seeded_sampling is True"):
        config(guidance_seeded_sampling=True, **fields)


def test_a_plain_config(make_model, tokenizer, tmp_path):
    from trl import GRPOConfig

    args = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to=[])
    with pytest.raises(ConfigError, match=r"args is 'GRPOConfig'. Expected a GuidedGRPOConfig"):
        GuidedGRPOTrainer(make_model(), accuracy_reward, args, table(), processing_class=tokenizer)


@pytest.mark.parametrize("name", ["tools", "rollout_func"])
def test_what_acts_where_guidance_is_spliced(make_model, tokenizer, config, name):
    with pytest.raises(ConfigError, match=f"{name} is .*Expected no {name} in a guided run"):
        GuidedGRPOTrainer(make_model(), accuracy_reward, config(), table(), processing_class=tokenizer, **{name: [print]})


def test_the_papers_schedules_need_nothing_but_a_length_of_the_run(build):
    for name in ("linear", "concave"):
        trainer = build(table(), guidance_controller=name, guidance_controller_kwargs={"length": 6})
        trainer.train()
        assert trainer.state.global_step == 2


@pytest.mark.parametrize(
    ("fields", "every"),
    [({"steps_per_generation": 3}, 3), ({"num_iterations": 2}, 2), ({"steps_per_generation": 2, "num_iterations": 2}, 4)],
)
def test_checkpoints_off_the_generation_cycle(build, fields, every):
    fields = {"per_device_train_batch_size": 4, **fields}
    with pytest.raises(ConfigError, match=rf"save_steps is {every + 1}. Expected a multiple of {every}, the optimizer steps"):
        build(table(), save_strategy="steps", save_steps=every + 1, **fields)
    assert build(table(), save_strategy="steps", save_steps=2 * every, **fields) is not None
    assert build(table(), save_strategy="no", save_steps=every + 1, **fields) is not None


def test_the_same_rule_holds_for_unguided_runs(build):
    with pytest.raises(ConfigError, match="save_steps is 3"):
        build(table(), save_strategy="steps", save_steps=3, num_iterations=2, guidance_controller="none")


def test_save_steps_may_be_a_share_of_the_run(build):
    build(table(), save_strategy="steps", save_steps=0.5, max_steps=8, num_iterations=2)  # every 4 steps: on the cycle


def test_nothing_is_guided_by_default_config_without_data(tmp_path):
    args = GuidedGRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to=[])
    assert (args.guided, args.unit, args.seeded_sampling) == (True, "fraction", True)
