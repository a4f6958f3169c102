"""The private parts of TRL that the trainer stands on, one test each: when TRL moves one, the name of the test says which."""

import inspect
import re

import trl
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation
from trl.trainer import utils

from g2rpo.training.config import LOSS_TYPES


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


def test_seam_log_probs():
    """Seven changes in 21 releases: positional where TRL passes it so, and every other input by name."""
    names = [
        "self",
        "model",
        "input_ids",
        "attention_mask",
        "logits_to_keep",
        "batch_size",
        "compute_entropy",
        "compute_aux_loss",
    ]
    assert parameters(GRPOTrainer._get_per_token_logps_and_entropies)[:8] == names


def test_seam_fused_head():
    """Two names that TRL's fused head looks up at each call; the second is called with these arguments, in this order."""
    source = inspect.getsource(utils.add_fused_lm_head)
    assert "compact = _use_triton(hidden_states.device)" in source
    assert "_ChunkedLogProbFunction.apply(" in source
    names = [
        "hidden",
        "weight",
        "bias",
        "targets",
        "temperature",
        "chunk_size",
        "final_logit_softcapping",
        "logit_scale",
        "outputs",
    ]
    assert parameters(utils._ChunkedLogProbFunction.forward)[1:] == names


def test_seam_prepare_inputs():
    """The generation batch lies in `_buffered_inputs`, one entry per micro-batch, and is read by step."""
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    assert "inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]" in source


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


def test_the_loss_types_are_those_that_trl_computes():
    source = inspect.getsource(GRPOTrainer._compute_loss)
    tests = re.findall(r"self\.loss_type (?:==|in) (\[[^]]*\]|\"[a-z_]+\")", source)
    assert {name for test in tests for name in re.findall(r"[a-z_]+", test)} == set(LOSS_TYPES)
