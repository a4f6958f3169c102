"""What TRL can do keeps working with guidance: losses, KL, adapters, buffers, missing rewards, odd groups, odd rows."""

import copy
import math

import pytest
import torch
from datasets import Dataset
from transformers import PrinterCallback

from g2rpo import GuidedGRPOTrainer
from g2rpo.errors import ConfigError, DataError
from g2rpo.method.controllers import get_controller
from g2rpo.method.planner import Planner
from g2rpo.training.presets import preset


def length_reward(completions, **columns):
    return [(len(c[0]["content"]) if isinstance(c, list) else len(c)) % 3 / 2 for c in completions]


@pytest.fixture
def train(make_model, tokenizer, rows, config):
    """`train(**fields)` -> a trained trainer whose `steps` are the outcomes of each generation batch, `rollouts` the rows."""

    def run(data=None, rewards=length_reward, model=None, tok=None, go=True, peft_config=None, **fields):
        trainer = GuidedGRPOTrainer(
            model or make_model(),
            rewards,
            config(**{"max_steps": 2, "max_completion_length": 40, **fields}),
            rows(16) if data is None else data,
            processing_class=tok or tokenizer,
            peft_config=peft_config,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.steps, trainer.rollouts, rule = [], [], trainer.controller

        class Watched:
            def __getattr__(self, name):
                return getattr(rule, name)

            def update(self, state, outcomes):
                trainer.steps.append(outcomes)
                return rule.update(state, outcomes)

        trainer.controller = Watched()
        trainer.rollout_sinks.append(lambda step, rows: trainer.rollouts.append(rows))
        if go:
            trainer.train()
            losses = [r["loss"] for r in trainer.state.log_history if "loss" in r]
            assert all(map(math.isfinite, losses))
        return trainer

    return run


# --- groups


@pytest.mark.parametrize("group_size", [2, 3, 7])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_any_group_size_and_share(train, group_size, alpha):
    trainer = train(
        num_generations=group_size,
        per_device_train_batch_size=2 * group_size,
        guidance_ratio=alpha,
        guidance_advantages="joint",
        guidance_controller="fixed",
        guidance_controller_kwargs={"length": 5},
        max_steps=1,
    )
    outcomes = trainer.steps[0]
    assert [o.rollout_index for o in outcomes] == list(range(group_size)) * 2
    assert [o.guided for o in outcomes] == [o.rollout_index < math.floor(alpha * group_size + 0.5) for o in outcomes]


def test_a_share_of_zero_is_trls_own_step(train):
    trainer = train(guidance_ratio=0, max_steps=1)
    assert trainer.planner is None
    assert trainer.rollout_func is None
    assert not any(o.guided for o in trainer.steps[0])


# --- losses


@pytest.mark.parametrize("guidance_loss", ["mask", "policy_gradient"])
@pytest.mark.parametrize(
    "fields",
    [
        {"loss_type": "grpo"},
        {"loss_type": "dr_grpo"},
        {"loss_type": "dapo"},
        {"loss_type": "bnpo"},
        {"loss_type": "cispo"},
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
    ],
    ids=lambda f: "-".join(f.values()),
)
def test_loss_types_with_two_updates_per_batch(train, fields, guidance_loss):
    trainer = train(num_iterations=2, guidance_loss=guidance_loss, max_steps=2, **fields)
    assert (trainer.state.global_step, trainer._generations, len(trainer.steps)) == (2, 1, 1)


@pytest.mark.parametrize("guidance_loss", ["mask", "policy_gradient"])
def test_masked_guidance_gets_no_gradient_and_sampled_tokens_do(train, guidance_loss):
    trainer = train(
        go=False,
        guidance_controller="fixed",
        guidance_controller_kwargs={"length": 6},
        guidance_loss=guidance_loss,
        guidance_advantages="joint",
        scale_rewards="none",
        rewards=lambda completions, **c: [float(i % 4) for i in range(len(completions))],
    )
    caught = []
    compute = trainer._get_per_token_logps_and_entropies

    def watched(*args, **kwargs):
        logps, *rest = compute(*args, **kwargs)
        if logps.requires_grad:
            logps.retain_grad()
            caught.append(logps)
        return logps, *rest

    trainer._get_per_token_logps_and_entropies = watched
    batches, close = [], trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: batches.append(inputs) or close(model, inputs)
    trainer.args.max_steps = 1
    trainer.train()
    grad, inputs = caught[0].grad, batches[0]
    given = {tuple(r["completion_ids"]): r["guidance_tokens"] for r in trainer.rollouts[0]}
    for g, ids, mask, advantage in zip(
        grad, inputs["completion_ids"], inputs["completion_mask"], inputs["advantages"], strict=True
    ):
        count = given[tuple(ids[mask.bool()].tolist())]
        on_guidance, on_sample = g[:count], g[count:][mask[count:].bool()]
        assert (g[~mask.bool()] == 0).all()
        assert (on_sample != 0).all() or advantage == 0
        if count and advantage != 0:
            assert (on_guidance == 0).all() if guidance_loss == "mask" else (on_guidance != 0).all()


def test_kl_to_a_reference_model(train, checkpoint):
    trainer = train(model=checkpoint(), beta=0.04, num_iterations=2)
    assert trainer.ref_model is not None
    assert all("kl" in r for r in trainer.state.log_history if "loss" in r)


@pytest.mark.parametrize("name", ["g2rpo-a-paper", "g2rpo-a-released", "g2rpo", "grpo"])
def test_every_preset_trains(train, checkpoint, name):
    assert train(model=checkpoint(), max_steps=2, **preset(name)).state.global_step == 2


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_adapters(train, beta):
    peft = pytest.importorskip("peft")
    trainer = train(peft_config=peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"), beta=beta)
    assert any(o.guided for step in trainer.steps for o in step)
    assert all("lora" in n for n, p in trainer.model.named_parameters() if p.requires_grad)


# --- buffers


@pytest.mark.parametrize(
    ("fields", "generations"),
    [
        ({"num_iterations": 2}, 2),
        ({"steps_per_generation": 2, "per_device_train_batch_size": 4}, 2),
        ({"steps_per_generation": 2, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}, 4),
        ({"steps_per_generation": 4, "gradient_accumulation_steps": 2, "num_iterations": 2, "per_device_train_batch_size": 4}, 1),
        ({"steps_per_generation": 1, "gradient_accumulation_steps": 2}, 8),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}, 3),
    ],
)
def test_the_controller_moves_once_per_generation_batch(train, fields, generations):
    trainer = train(**fields, max_steps=4, guidance_controller="linear", guidance_controller_kwargs={"length": 12})
    assert (trainer._generations, trainer.total_generations, len(trainer.steps)) == (generations,) * 3
    lengths = [max(o.guidance_tokens for o in step) for step in trainer.steps]
    assert lengths == [int(12 * (1 - t / generations)) for t in range(generations)]


def test_advantages_stay_with_their_rows_through_shuffle_and_split(train):
    """TRL shuffles and splits the generation batch: a row's advantage must travel with its tokens."""
    trainer = train(go=False, steps_per_generation=2, per_device_train_batch_size=4, max_steps=2)
    seen, close = {}, trainer._compute_loss

    def watched(model, inputs):
        for ids, mask, advantage in zip(inputs["completion_ids"], inputs["completion_mask"], inputs["advantages"], strict=True):
            seen[tuple(ids[mask.bool()].tolist())] = advantage.item()
        return close(model, inputs)

    trainer._compute_loss = watched
    trainer.train()
    wanted = {tuple(r["completion_ids"]): r["advantage"] for r in trainer.rollouts[0]}
    assert seen == pytest.approx({ids: wanted[ids] for ids in seen})
    assert seen.keys() >= {ids for ids, advantage in wanted.items() if advantage}  # rows without any may be left out


# --- rewards that are missing


def none_for_all(completions, **columns):
    return [None] * len(completions)


def none_for_guided(completions, **columns):
    return [None if i % 4 < 2 else float(i % 2) for i in range(len(completions))]


def none_for_some(completions, **columns):
    return [None if i % 3 == 0 else float(i % 2) for i in range(len(completions))]


@pytest.mark.parametrize("grouping", ["joint", "stratified"])
@pytest.mark.parametrize("reward", [none_for_all, none_for_guided, none_for_some])
def test_a_rollout_that_was_not_scored_teaches_nothing(train, reward, grouping):
    trainer = train(rewards=reward, guidance_advantages=grouping, max_steps=2)
    for outcome in (o for step in trainer.steps for o in step):
        assert (outcome.reward is None) == (outcome.success is None)
        if outcome.reward is None:
            assert outcome.advantage == 0


def test_a_rollout_that_only_the_driver_could_not_score_still_has_a_reward(train):
    trainer = train(rewards=[none_for_some, length_reward], guidance_reward="none_for_some", max_steps=1)
    outcomes = trainer.steps[0]
    assert [o.success is None for o in outcomes] == [i % 3 == 0 for i in range(8)]
    assert all(o.reward is not None for o in outcomes)


def test_rewards_are_weighted_and_the_driver_is_not(train):
    def ones(completions, **columns):
        return [1.0] * len(completions)

    trainer = train(rewards=[ones, none_for_some], reward_weights=[0.25, 2.0], guidance_reward="none_for_some", max_steps=1)
    for o in trainer.steps[0]:
        assert o.reward == pytest.approx(0.25 + 2 * (o.success or 0))


# --- rows


def conversation(text):
    return [{"role": "user", "content": text}]


def test_a_prompt_with_two_traces_is_guided_by_each_in_its_own_group(train):
    traces = ["first words here\nand more of them", "OTHER words entirely\nnothing alike"]
    data = Dataset.from_list([{"prompt": conversation("same"), "trace": t, "answer": "99"} for t in traces * 2])
    trainer = train(data, guidance_controller="fixed", guidance_controller_kwargs={"length": 8}, max_steps=1)
    for i, row in enumerate(trainer.rollouts[0]):
        if row["guided"]:
            assert ("OTH" in row["completion"]) == (
                trainer.rollouts[0][i - row["rollout_index"] + 1]["completion"].startswith("<think>\nOTH")
            )
    starts = {row["completion"][:11] for row in trainer.rollouts[0] if row["guided"]}
    assert len(starts) <= 2


def test_a_prompt_that_stands_twice_in_a_batch_is_sampled_twice(train):
    data = Dataset.from_list([{"prompt": conversation("same"), "trace": "some words\nand more", "answer": "99"}] * 4)
    rows = train(data, max_steps=1).rollouts[0]
    assert rows[2]["completion_ids"] != rows[6]["completion_ids"]


@pytest.mark.parametrize("length", [10, 12])
def test_a_trace_cut_inside_a_character_trains(train, tokenizer, length):
    data = Dataset.from_list([{"prompt": f"Q{i}: ", "trace": "añ∑🙂" * 4 + "\nso", "answer": "99"} for i in range(4)])
    trainer = train(
        data,
        guidance_controller="paper",
        guidance_controller_kwargs={"initial_length": length},
        max_completion_length=100,
        max_steps=1,
    )
    whole = tokenizer("<think>\n" + data[0]["trace"], add_special_tokens=False)["input_ids"]
    for row in (r for r in trainer.rollouts[0] if r["guided"]):
        assert row["guidance_tokens"] == length
        assert list(row["completion_ids"][:length]) == whole[:length]


def test_whole_conversations_and_number_answers(train):
    prompt = [{"role": "system", "content": "s"}, *conversation("u"), {"role": "assistant", "content": "a"}, *conversation("v")]
    data = Dataset.from_list([{"prompt": prompt, "key": f"k{i}", "trace": "one two\nthree", "answer": 7} for i in range(4)])
    trainer = train(data, max_steps=1)
    assert {o.key for o in trainer.steps[0]} <= {"k0", "k1", "k2", "k3"}


def test_rows_without_a_trace_are_trained_unguided(train):
    data = Dataset.from_list(
        [
            {"prompt": conversation(f"q{i}"), "key": f"k{i}", "trace": None if i % 2 else "one two\nthree", "answer": "7"}
            for i in range(8)
        ]
    )
    trainer = train(
        data, guidance_missing_trace="unguided", guidance_controller="fixed", guidance_controller_kwargs={"length": 4}
    )
    for o in (o for step in trainer.steps for o in step):
        assert o.guided == (o.rollout_index < 2 and int(o.key[1:]) % 2 == 0)


def test_pad_may_be_the_eos(train, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.pad_token = other.eos_token
    trainer = train(tok=other, max_steps=2)
    for row in (r for rows in trainer.rollouts for r in rows):
        assert other.eos_token_id not in row["completion_ids"][:-1]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_other_architectures(train, make_model, kind):
    assert train(model=make_model(kind), max_steps=2).state.global_step == 2


# --- what should be refused at the start


def test_a_set_smaller_than_one_generation_batch_is_refused(train, rows):
    with pytest.raises((DataError, ConfigError)):
        train(rows(1), go=False)  # 8 rollouts per batch, groups of 4: two prompts are needed


@pytest.mark.parametrize("unit", ["tokens", "steps"])
def test_profile_in_another_unit_than_its_own_is_refused(config, unit):
    with pytest.raises(ConfigError):
        config(guidance_controller="profile", guidance_unit=unit)


@pytest.mark.parametrize("name", ["paper", "released", "fixed", "linear", "concave", "stepwise"])
def test_a_default_length_in_tokens_is_refused_as_a_fraction(config, name):
    with pytest.raises(ConfigError):
        config(guidance_controller=name, guidance_unit="fraction")


@pytest.mark.parametrize("kwargs", [{"typical_p": 0.9}, {"num_return_sequences": 2}, {"stop_strings": ["x"]}])
def test_generation_settings_that_seeding_cannot_follow_are_refused_at_the_start(train, kwargs):
    with pytest.raises(ConfigError):
        train(go=False, generation_kwargs=kwargs)


def test_a_trace_shared_by_two_answers_is_guarded_for_each(tokenizer):
    planner = Planner(
        get_controller("fixed", length=1.0), tokenizer, 0.5, 4, "fraction", "think_answer", "strict", "trace", "answer", 99, 0
    )
    row = {"prompt": "q", "trace": "1+4=5\n5+94=99"}
    assert tokenizer.decode(planner.trace({**row, "answer": "99"}).ids).endswith("5+94=")
    assert tokenizer.decode(planner.trace({**row, "answer": "5"}).ids).endswith("1+4=")


def test_unseeded_rows_are_drawn_from_the_whole_vocabulary(make_model, tokenizer):
    from transformers import GenerationConfig

    from g2rpo.sampling.sample import sample_rows

    torch.manual_seed(0)
    rows = sample_rows(make_model(), [[5]] * 2000, [1] * 2000, GenerationConfig(do_sample=True), eos_ids=[], pad_id=0)
    assert len({r.ids[0] for r in rows}) > 100
