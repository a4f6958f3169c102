"""Opens what training leaves behind, in whatever form: a TRL checkpoint, a merged model, a PEFT adapter, a hub or built-in
name."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g2rpo.errors import ConfigError
from g2rpo.models import is_missing, resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER, MODEL = "adapter_config.json", "config.json"
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
DIGEST_VALUES = 4096
"""Values of each tensor that the digest reads at least: training moves nearly all of them, so a few tell two checkpoints
apart."""

_SAVE_IT = "Save it there with tokenizer.save_pretrained: it is that of the model it was trained from."
_NAME_IT = "Name the model it was trained from with --tokenizer, or save it there with tokenizer.save_pretrained."


@dataclass(frozen=True)
class Checkpoint:
    """A model in evaluation mode, adapters merged; its tokenizer; and a digest of its weights, the same however they are
    stored."""

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    digest: str
    merged: bool
    """Whether an adapter was merged: then `name` alone is no model that another engine could load."""

    @property
    def eos_ids(self) -> list[int]:
        return eos_ids(self.model, self.tokenizer)

    @property
    def pad_id(self) -> int:
        return pad_id(self.model, self.tokenizer)

    @property
    def room(self) -> int | None:
        return room(self.model)


def eos_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Every id that ends a completion: the tokenizer's, and those that the model's generation config adds."""
    more = getattr(model.generation_config, "eos_token_id", None)
    more = more if isinstance(more, list) else [] if more is None else [more]
    return list(dict.fromkeys([tokenizer.eos_token_id, *more]))


def pad_id(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> int:
    pad = tokenizer.pad_token_id
    return eos_ids(model, tokenizer)[0] if pad is None else pad


def room(model: "PreTrainedModel") -> int | None:
    """Positions that a model has, prompt and completion together; None where its config does not say."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def load_checkpoint(
    name: str, *, tokenizer: str | None = None, dtype: str = "auto", device: str = "auto", revision: str | None = None
) -> Checkpoint:
    """Loads a checkpoint for evaluation.

    Args:
        name: A folder (a model, a TRL checkpoint, a PEFT adapter), a built-in name, or a name on the hub.
        tokenizer: Another folder or name for the tokenizer.
        dtype: Of the weights; `auto` is float32 on the processor, and `stored` on an accelerator.
        device: `auto` takes the first accelerator.
        revision: On the hub.

    Raises:
        ConfigError: no model there, no tokenizer, or one that does not belong to it; says what to do.
    """
    import torch
    from transformers import AutoModelForCausalLM

    place = resolve_model(name)
    device = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    known: dict[str, Any] = {"stored": "auto", "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in ("auto", *known):
        raise ConfigError("dtype", dtype, expected=f"auto, {', '.join(known)}", then="Leave it out for auto.")
    kind = known.get(dtype) or (torch.float32 if device == "cpu" else "auto")
    adapter = _adapter(place)
    base = _base(name, adapter) if adapter else place
    _check_folder(name, base)
    with _told(name, base, adapted=adapter is not None):
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=kind, revision=None if adapter else revision)
    words = load_tokenizer(name, tokenizer or (place if not adapter or _has_vocabulary(place) else base), then=_NAME_IT)
    if adapter:
        model = _with_adapter(model, place, len(words))
    rows = model.get_input_embeddings().num_embeddings
    if len(words) > rows:
        raise ConfigError(
            "tokenizer",
            f"{len(words)} tokens",
            expected=f"at most {rows}, the rows of the embedding of {name}",
            then="It belongs to another model: name the right one with --tokenizer.",
        )
    model = model.to(device).eval()
    return Checkpoint(name, model, words, weights_digest(model), adapter is not None)


def trainable_place(name: str, *, trust_remote_code: bool = False) -> str:
    """Where the model to train is: its folder, or its name on the hub.

    Raises:
        ConfigError: a folder without a model or without a tokenizer. Nothing is loaded to find out.
    """
    place = resolve_model(name)
    adapter = _adapter(place)
    _check_folder(name, _base(name, adapter) if adapter else place)
    if Path(place).is_dir() and not adapter and not trust_remote_code and not _has_vocabulary(place):
        raise _no_tokenizer(name, place, _SAVE_IT)
    return place


def weights_digest(model: "PreTrainedModel") -> str:
    """A hash of evenly spaced values of every tensor, with names and shapes."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(flat[:: max(1, len(flat) // DIGEST_VALUES)].to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()


def _adapter(place: str) -> dict[str, Any] | None:
    file = Path(place) / ADAPTER
    return json.loads(file.read_text()) if file.is_file() else None


def _with_adapter(model: Any, place: str, tokens: int) -> Any:
    """The base with the adapter merged into its weights: the same function, without its cost per token."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise ConfigError("model", place, expected="the package peft: this is an adapter", then="pip install peft") from error
    if tokens > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(tokens)  # tokens were added before the adapter was trained
    return PeftModel.from_pretrained(model, place).merge_and_unload()


def _base(name: str, adapter: dict[str, Any]) -> str:
    """Where the model is that an adapter was trained from."""
    place = str(adapter["base_model_name_or_path"])
    if is_missing(place):
        raise ConfigError(
            f"base model of the adapter {name}",
            place,
            expected="a folder that is still there",
            then=f"Set base_model_name_or_path in its {ADAPTER} to where the base model is.",
        )
    return resolve_model(place)


def _check_folder(name: str, place: str) -> None:
    folder = Path(place)
    if folder.is_dir() and not (folder / MODEL).is_file():
        within = sorted(p.name for p in folder.iterdir() if (p / MODEL).is_file() or (p / ADAPTER).is_file())
        then = f"It holds {', '.join(within)}: name one of them." if within else "Name the folder of a saved model."
        raise ConfigError("model", name, expected=f"a folder with {MODEL} or {ADAPTER} in it", then=then)


class _told:
    """Turns what transformers says about a model it cannot load into a sentence."""

    def __init__(self, name: str, place: str, *, adapted: bool) -> None:
        self.what = f"base model of the adapter {name}" if adapted else "model"
        self.value = place if adapted else name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | ValueError):
            raise _not_loaded(self.what, self.value, error) from error


def _not_loaded(what: str, name: str, error: BaseException) -> ConfigError:
    return ConfigError(
        what, name, expected="a folder or a hub name that can be loaded, or builtin", then=str(error).splitlines()[0]
    )


def _has_vocabulary(place: str) -> bool:
    return any((Path(place) / file).is_file() for file in VOCABULARIES)


def _no_tokenizer(name: str, place: str, then: str) -> ConfigError:
    return ConfigError(
        f"tokenizer of {name}",
        then=then,
        expected=f"its files beside the weights ({', '.join(VOCABULARIES[:3])}, ...); {place} has none",
    )


def load_tokenizer(
    name: str, place: str | None = None, *, then: str = _SAVE_IT, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model.

    Args:
        name: The model: a folder, a built-in name, or a name on the hub.
        place: Where its tokenizer is, if not with it.
        then: What to do when there is none.
        trust_remote_code: As Transformers takes it.

    Raises:
        ConfigError: none there, or one without an EOS token.
    """
    from transformers import AutoTokenizer

    place = resolve_model(place or name)
    if Path(place).is_dir() and not trust_remote_code and not _has_vocabulary(place):
        raise _no_tokenizer(name, place, then)  # transformers would make one without a vocabulary
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        if Path(place).is_dir():
            raise _no_tokenizer(name, place, then) from error
        raise _not_loaded("model", name, error) from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"eos_token of the tokenizer of {name}",
            None,
            expected="a token that ends a completion",
            then="Set the tokenizer's eos_token and save it.",
        )
    return tokenizer
