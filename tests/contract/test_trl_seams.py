"""The private parts of TRL that the trainer stands on, one test each: when TRL moves one, the name of the test says which."""

import inspect

import trl
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_trl_is_a_version_we_know():
    assert trl.__version__.startswith("1.16.")


def test_seam_generate_and_score_completions():
    assert parameters(GRPOTrainer._generate_and_score_completions) == ["self", "inputs"]


def test_seam_calculate_rewards():
    assert parameters(GRPOTrainer._calculate_rewards) == ["self", "inputs", "prompts", "completions", "completion_ids_list"]


def test_seam_tokenize_prompts():
    assert parameters(GRPOTrainer._tokenize_prompts) == ["self", "prompts"]


def test_seam_generate_single_turn():
    assert parameters(GRPOTrainer._generate_single_turn)[:5] == [
        "self",
        "prompt_ids",
        "images",
        "multimodal_fields",
        "num_generations",
    ]


def test_seam_compute_loss():
    assert parameters(GRPOTrainer._compute_loss) == ["self", "model", "inputs"]


def test_seam_checkpoints():
    assert parameters(GRPOTrainer._save_checkpoint) == ["self", "model", "trial"]
    assert parameters(GRPOTrainer._load_optimizer_and_scheduler) == ["self", "checkpoint"]


def test_seam_unwrap_model_for_generation():
    wanted = {"gather_deepspeed3_params", "generation_kwargs", "gradient_checkpointing_kwargs"}
    assert wanted <= set(parameters(unwrap_model_for_generation))


def test_seam_rollout_func_contract():
    """What `_generate` asks of a rollout function, and the mask it honours."""
    source = inspect.getsource(GRPOTrainer._generate)
    assert "self.rollout_func(prompts, self)" in source
    assert '{"prompt_ids", "completion_ids", "logprobs"}' in source
    assert 'extra_fields.pop("env_mask", None)' in source
