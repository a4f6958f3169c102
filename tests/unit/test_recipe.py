"""A recipe and its flags, checked and typed before anything is loaded."""

import dataclasses
import typing

import pytest
import yaml
from trl import ModelConfig

from g2rpo.data.tasks import make
from g2rpo.errors import ConfigError
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.presets import PRESETS, preset
from g2rpo.training.run.data_config import DataConfig
from g2rpo.training.run.recipe import read_flags, read_yaml, resolve
from g2rpo.training.sft import resolve_sft


@pytest.fixture
def base(tmp_path):
    return {"task": "chains", "output_dir": str(tmp_path), "use_cpu": True, "bf16": False, "report_to": "none"}


@pytest.fixture(autouse=True)
def _first_of_its_process():
    """The argument parser rewrites the types of the fields it has seen: each test starts where a fresh process would."""
    for owner in (ModelConfig, DataConfig, GuidedGRPOConfig):
        types = typing.get_type_hints(owner)
        for field in dataclasses.fields(owner):
            field.type = types[field.name]


# --- flags


@pytest.mark.parametrize(
    ("flags", "values"),
    [
        (["--a", "1"], {"a": 1}),
        (["--a=1"], {"a": 1}),
        (["--a", "-1"], {"a": -1}),
        (["--learning-rate", "1e-5"], {"learning_rate": "1e-5"}),  # YAML 1.1's text; typed by the field
        (["--a", "1.5", "--b", "x"], {"a": 1.5, "b": "x"}),
        (["--a"], {"a": True}),
        (["--a", "--b", "2"], {"a": True, "b": 2}),
        (["--a", "x", "y"], {"a": ["x", "y"]}),
        (["--a=x", "y"], {"a": ["x", "y"]}),
        (["--a", "{window: 3}"], {"a": {"window": 3}}),
        (["--a", '{"window": 3}'], {"a": {"window": 3}}),
        (["--a", "null"], {"a": None}),
        (["--a="], {"a": ""}),
        (["--a", "1", "--a", "2"], {"a": 2}),
        ([], {}),
    ],
)
def test_flags_are_read_as_yaml(flags, values):
    assert read_flags(flags) == values


def test_a_value_without_a_field_is_an_error():
    with pytest.raises(ConfigError, match=r"argument is 'chains'. Expected --field value. Put two dashes"):
        read_flags(["chains"])


def test_a_flag_that_is_not_yaml_is_named():
    with pytest.raises(ConfigError):
        read_flags(["--columns", "{prompt: question"])


# --- files


def test_a_yaml_file_is_a_mapping(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("task: chains\nlearning_rate: 1e-5\n")
    assert read_yaml(path) == {"task": "chains", "learning_rate": "1e-5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n- b\n", "a mapping of fields to values"), ("a: [1", "valid YAML"), ("", "a mapping of fields to values")],
)
def test_a_file_that_is_no_recipe_says_why(tmp_path, text, message):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"recipe is .*r.yaml'. Expected {message}"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        ("beta: 0.1\ntask: chains\nbeta: 0.2\n", "beta", "1 and 3"),
        ("task: chains\ncolumns:\n  prompt: q\n  answer: a\n  prompt: p\n", "prompt", "3 and 5"),
        ("arms:\n  a: {preset: grpo}\n  b: {preset: dapo, preset: grpo}\n", "preset", "3 and 3"),
    ],
)
def test_a_key_that_stands_there_twice(tmp_path, text, name, lines):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"r.yaml'.*'{name}' stands there twice, on lines {lines}: keep one"):
        read_yaml(path)


def test_a_missing_recipe(tmp_path):
    with pytest.raises(ConfigError, match=r"Expected an existing YAML file. See recipes/"):
        read_yaml(tmp_path / "gone.yaml")


# --- resolving


def test_flags_win_over_the_file_and_the_file_over_the_preset(base):
    recipe = resolve({**base, "preset": "g2rpo-a-paper", "beta": 0.1}, ["--guidance_loss", "mask"])
    assert recipe.training.guidance_controller == "paper"
    assert recipe.training.guidance_advantages == "joint"
    assert (recipe.training.beta, recipe.training.guidance_loss) == (0.1, "mask")


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [("learning_rate", "1e-5", 1e-5), ("learning_rate", "3", 3.0), ("temperature", 1, 1.0), ("guidance_ratio", "2.5e-1", 0.25)],
)
def test_numbers_that_yaml_leaves_as_text_become_numbers(base, name, value, typed):
    assert getattr(resolve({**base, name: value}).training, name) == typed


def test_a_single_value_where_a_list_is_meant(base):
    recipe = resolve({**base, "rewards": "accuracy", "task_steps": 5})
    assert (recipe.data.rewards, recipe.data.task_steps) == (["accuracy"], [5])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("learning_rte", "learning_rate"),
        ("guidance_controler", "guidance_controller"),
        ("dataset_pth", "dataset_path"),
        ("model_name", "model_name_or_path"),
        ("num_generation", "num_generations"),
    ],
)
def test_unknown_fields_name_the_nearest(base, name, near):
    with pytest.raises(ConfigError, match=f"recipe field is '{name}'.*Did you mean .*'{near}'"):
        resolve({**base, name: 1})
    with pytest.raises(ConfigError, match=f"recipe field is '{name}'.*Did you mean .*'{near}'"):
        resolve(base, [f"--{name}", "1"])


@pytest.mark.parametrize("name", ["training", "model", "data", "guidance"])
def test_a_recipe_in_sections_is_told_to_be_flat(base, name):
    with pytest.raises(ConfigError, match=f"recipe field is '{name}'.*A recipe is flat: write the fields of '{name}' at its top"):
        resolve({**base, name: {"learning_rate": 1e-5}})


def test_a_mistyped_mapping_is_no_section(base):
    with pytest.raises(ConfigError, match=r"recipe field is 'reward_kwarg'.*Did you mean 'reward_kwargs'"):
        resolve({**base, "reward_kwarg": {"cosine": {}}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_completion_length", 0),
        ("temperature", -1),
        ("temperature", 0),
        ("temperature", float("inf")),
        ("learning_rate", "nan"),
        ("learning_rate", "inf"),
        ("learning_rate", -1e-5),
        ("top_p", 0),
        ("top_p", 1.1),
        ("per_device_train_batch_size", 0),
        ("gradient_accumulation_steps", 0),
        ("num_iterations", 0),
        ("adam_beta1", 1),
        ("weight_decay", -0.1),
        ("beta", -1),
        ("num_train_epochs", 0),
        ("max_sampled_tokens", 0),
        ("task_size", 0),
        ("epsilon", "nan"),
        ("delta", "nan"),
    ],
)
def test_numbers_that_no_run_can_use(base, name, value):
    with pytest.raises(ConfigError, match=rf"^{name} is .*Expected .*(number|1 or more)"):
        resolve({**base, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", "nan"),
        ("max_length", 0),
        ("learning_rate", "nan"),
        ("max_sampled_tokens", "abc"),
        ("max_sampled_tokens", 0),
        ("chat_template_kwargs", "no mapping at all"),
        ("guidance_style", 3),
    ],
)
def test_fine_tuning_types_its_numbers_too(base, name, value):
    with pytest.raises(ConfigError, match=f"{name} is"):
        resolve_sft({**base, name: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate is 'fast'. Expected a number"),
        ({"max_steps": "ten"}, "max_steps is 'ten'. Expected a (whole )?number"),
        ({"max_steps": 1.5}, "max_steps is 1.5. Expected a (whole )?number"),
        ({"max_steps": True}, "max_steps is .*. Expected a (whole )?number"),
        ({"use_vllm": "yes please"}, "use_vllm is 'yes please'. Expected true or false"),
        ({"temperature": None}, "temperature is None"),
        ({"guidance_controller": None}, "guidance_controller is None. Expected text"),
        ({"preset": "g2rpo-paper"}, "preset is 'g2rpo-paper'.*Did you mean 'g2rpo-a-paper'"),
        ({"guidance_loss": "maks"}, "guidance_loss is 'maks'.*Did you mean 'mask'"),
        ({"guidance_controller": "profil"}, "guidance_controller is 'profil'.*Did you mean 'profile'"),
        ({"guidance_controller_kwargs": "{not json"}, "guidance_controller_kwargs is '{not json'. Expected a JSON object"),
        ({"guidance_controller_kwargs": "[1]"}, "guidance_controller_kwargs is .*Expected a JSON object"),
        ({"guidance_style": "think"}, "guidance_style is 'think'"),
        ({"guidance_unit": "words"}, "guidance_unit is 'words'"),
        ({"guidance_cut": "steps"}, "guidance_cut is 'steps'.*Did you mean 'step'"),
        ({"guidance_missing_trace": "skip"}, "guidance_missing_trace is 'skip'"),
        ({"task": None}, "Expected exactly one of task, dataset_name and dataset_path"),
        ({"dataset_path": "x"}, "Expected exactly one of task, dataset_name and dataset_path"),
        ({"num_generations": 1}, "num_generations is 1. Expected at least 2"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)
def test_wrong_values_are_named(base, fields, message):
    with pytest.raises(ConfigError, match=message):
        resolve({**base, **fields})


@pytest.mark.parametrize("kwargs", [{"window": 3}, '{"window": 3}'], ids=["mapping", "json"])
def test_hyperparameters_come_as_mapping_or_json(base, kwargs):
    recipe = resolve({**base, "guidance_controller": "paper", "guidance_controller_kwargs": kwargs})
    assert recipe.training.controller.window == 3


def test_hyperparameters_come_as_a_flag(base):
    flags = ["--guidance_controller", "paper", "--guidance_controller_kwargs", '{"window": 3}']
    assert resolve(base, flags).training.controller.window == 3


def test_the_model_defaults_to_the_built_in_one(base):
    assert resolve(base).model.model_name_or_path == "builtin"


def test_a_task_gives_its_problems(base):
    recipe = resolve({**base, "task_steps": [2, 3], "task_size": 5})
    assert recipe.data.problems() == make("chains", "train", 5, steps=(2, 3))
    assert recipe.data.problems("test") == make("chains", "test", 5, steps=(2, 3))


def test_settings_of_a_reward_that_is_not_there(base):
    data = resolve({**base, "reward_kwargs": {"cosin": {}}, "rewards": ["cosine"]}).data
    with pytest.raises(ConfigError, match=r"reward_kwargs is 'cosin'.*Did you mean 'cosine'"):
        data.reward_functions()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cosine", {"max_len": 512}, "setting of reward 'cosine' is 'max_len'.*Did you mean 'max_length'"),
        ("cosine", {}, r"setting 'max_length' of reward 'cosine'.*Write reward_kwargs: \{cosine: \{max_length: "),
        ("repetition_penalty", {"n_gram": 3}, "is 'n_gram'.*Did you mean 'ngram_size'"),
        ("accuracy", {"deadline": 3}, "is 'deadline'.*Did you mean 'deadline_s'"),
        ("format", {"x": 1}, "Expected none. Remove them"),
    ],
)
def test_wrong_settings_of_a_reward_name_the_right_ones(base, name, settings, message):
    data = resolve({**base, "reward_kwargs": {name: settings}, "rewards": [name]}).data
    with pytest.raises(ConfigError, match=message):
        data.reward_functions()


def test_the_settings_that_the_help_shows_are_taken(base):
    [shown] = [f.metadata["help"] for f in dataclasses.fields(DataConfig) if f.name == "reward_kwargs"]
    kwargs = yaml.safe_load(shown.partition(": ")[2].rstrip("."))
    resolve({**base, "rewards": list(kwargs), "reward_kwargs": kwargs}).data.reward_functions()


def test_the_whole_configuration_is_plain_data(base):
    import json

    json.dumps(resolve(base).to_json())


@pytest.mark.parametrize("name", ["save_strategy", "eval_strategy", "logging_strategy"])
def test_a_strategy_may_be_no(base, name):
    assert getattr(resolve(base, [f"--{name}", "no"]).training, name) == "no"


@pytest.mark.parametrize(
    "fields",
    [{"guidance_controller": "paper", "guidance_controller_kwargs": {"window": 3}}, {"guidance_reward": 0}],
    ids=lambda fields: "-".join(fields),
)
def test_a_recipe_resolves_the_same_a_second_time(base, fields):
    def outcome():
        try:
            return resolve({**base, **fields}).to_json()["training"]
        except ConfigError as error:
            return str(error)

    assert outcome() == outcome()


def test_scale_rewards_may_be_false(base):
    assert resolve({**base, "scale_rewards": False}).training.scale_rewards == "none"


@pytest.mark.parametrize("value", ["1e-1", ["1e-1"]])
def test_numbers_in_lists_are_typed(base, value):
    assert resolve({**base, "reward_weights": value}).training.reward_weights == [0.1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_completion_length", "long"),
        ("num_generations", "many"),
        ("dataset_limit", "all"),
        ("dataset_limit", 2.5),
        ("dataset_limit", 0),
        ("max_steps", 0),
        ("reward_weights", [1.0, float("nan")]),
    ],
)
def test_optional_numbers_are_checked(base, name, value):
    with pytest.raises(ConfigError, match=name):
        resolve({**base, name: value})


def test_lora_without_use_peft_is_refused(base):
    with pytest.raises(ConfigError, match=r"use_peft is None. Expected true where lora_r is set.*Set use_peft: true"):
        resolve({**base, "lora_r": 8})
    assert not resolve({**base, "lora_r": 8, "use_peft": False}).model.use_peft


# --- presets


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_resolves(base, name):
    recipe = resolve({**base, "preset": name})
    for field, value in PRESETS[name].items():
        assert getattr(recipe.training, field) == value
    assert recipe.training.guided == (name not in ("grpo", "dapo", "hpt"))


def test_our_preset_is_what_an_unset_recipe_gives(base):
    unset = resolve(base).training
    assert {name: getattr(unset, name) for name in PRESETS["g2rpo"]} == PRESETS["g2rpo"]


def test_the_papers_preset_is_the_published_method():
    paper = preset("g2rpo-a-paper")
    assert paper["guidance_loss"] == "policy_gradient"  # guidance inside the loss
    assert paper["guidance_advantages"] == "joint"  # one baseline
    assert (paper["loss_type"], paper["beta"]) == ("grpo", 0.04)  # mean per rollout, KL of the released recipe


def test_a_preset_is_a_copy():
    preset("grpo")["guidance_controller"] = "paper"
    assert preset("grpo") == {"guidance_controller": "none"}


def test_a_recipe_in_another_encoding_is_named(tmp_path):
    (tmp_path / "r.yaml").write_bytes("task: chäins".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"r.yaml.*UTF-8"):
        read_yaml(tmp_path / "r.yaml")


def test_a_task_takes_a_system_prompt_and_an_instruction():
    recipe = resolve(
        {"use_cpu": True, "task": "chains", "task_size": 2, "system_prompt": "Be brief.", "instruction": "End with ####."}
    )
    for problem in recipe.data.problems():
        assert problem.prompt[0] == {"role": "system", "content": "Be brief."}
        assert problem.prompt[-1]["content"].endswith("\nEnd with ####.")


def test_words_with_commas_are_a_list_where_a_field_takes_one(base):
    flags = [
        "--rewards",
        "accuracy,format",
        "--lora_target_modules",
        "q_proj, v_proj",
        "--use_peft",
        "--report_to",
        "tensorboard,wandb",
    ]
    recipe = resolve(base, flags)
    assert recipe.data.rewards == ["accuracy", "format"]
    assert recipe.model.lora_target_modules == ["q_proj", "v_proj"]
    assert recipe.training.report_to == ["tensorboard", "wandb"]
    pattern = r".*\.(q|v)_proj{1,2}"
    assert resolve(base, ["--use_peft", "--lora_target_modules", pattern]).model.lora_target_modules == pattern
