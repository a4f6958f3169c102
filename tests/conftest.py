"""What tests share: a real tokenizer trained on the spot, tiny models of real architectures, rows of the procedural tasks."""

import os
from pathlib import Path

import pytest

# One thread: the tests' tensors are tiny, and the workers of a parallel run share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level BPE with Qwen3's chat markers and think tags."""
    from g2rpo.data.completion import STYLES, full_completion
    from g2rpo.data.tasks import FAMILIES, make
    from g2rpo.lab.base_models.tokenizer import train_tokenizer

    texts = ["user\n", "assistant\n", "system\n"]
    for family in FAMILIES:
        for problem in make(family, "train", 100, steps=(1, 6)):
            texts += [problem.prompt[0]["content"], full_completion(problem, STYLES["think_answer"])]
    return train_tokenizer(texts, 400)


def tiny_config(kind: str, tokenizer, **changes):
    """A config of a real architecture with some 30 k parameters; `kind` is qwen3, qwen2 or llama."""
    from transformers import LlamaConfig, Qwen2Config, Qwen3Config

    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind == "qwen3":
        sizes["head_dim"] = 16
    kinds = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}
    return kinds[kind](**{**sizes, **changes})


@pytest.fixture
def make_model(tokenizer):
    """`make_model("qwen3", seed=0)`: the same weights for the same arguments."""
    import torch
    from transformers import AutoModelForCausalLM

    def build(kind: str = "qwen3", seed: int = 0, **changes):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(tiny_config(kind, tokenizer, **changes))

    return build


@pytest.fixture
def checkpoint(tmp_path, make_model, tokenizer):
    """`checkpoint("llama")`: a folder with a tiny model and its tokenizer, as a hub name would give."""

    def save(kind: str = "qwen3", seed: int = 0, **changes) -> str:
        folder = tmp_path / f"tiny-{kind}-{seed}"
        make_model(kind, seed, **changes).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return save


@pytest.fixture
def rows():
    """`rows(8, steps=3)`: a trainer's data set of chain problems."""
    from g2rpo.data.load import to_rows
    from g2rpo.data.tasks import make

    def build(n: int = 8, steps: int = 3, family: str = "chains", split: str = "train"):
        return to_rows(make(family, split, n, steps=steps))

    return build


@pytest.fixture
def config(tmp_path):
    """`config(**fields)`: a guided run of two tiny steps on the processor, fields overriding."""
    from g2rpo import GuidedGRPOConfig

    def build(**fields):
        defaults = {
            "output_dir": str(tmp_path / "run"),
            "use_cpu": True,
            "bf16": False,
            "max_steps": 2,
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 48,
            "learning_rate": 1e-3,
            "report_to": [],
            "save_strategy": "no",
            "disable_tqdm": True,
            "guidance_reward": None,
        }
        return GuidedGRPOConfig(**{**defaults, **fields})

    return build


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real data sets named by G2RPO_DATA; tests that need it are skipped where it is not set."""
    folder = os.environ.get("G2RPO_DATA")
    if not folder:
        pytest.skip("G2RPO_DATA is not set: checks on real data need the folder")
    return Path(folder)
