"""vLLM for a trainer: what must be right before an engine is started or a server is taken, and the end of it."""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import trl.generation.vllm_generation as trl_vllm
import trl.trainer.grpo_trainer as trl_trainer
from trl.import_utils import is_vllm_available

from g2rpo.errors import ConfigError, RunError
from g2rpo.training.config import GuidedGRPOConfig

PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def engine_checked(args: GuidedGRPOConfig) -> Iterator[None]:
    """Around the making of a `GRPOTrainer`: what it starts or asks for rollouts is an `Engine`.

    Raises:
        ConfigError: there is no vLLM, or it is one that TRL does not know.
    """
    if not args.use_vllm:
        yield
        return
    _check_version()
    with _replaced(trl_trainer, VLLMGeneration=Engine):
        yield


def _check_version() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        there = is_vllm_available()
    if not there:
        raise ConfigError("use_vllm", True, expected="vLLM installed", then="pip install 'g2rpo[vllm]', or leave use_vllm out.")
    unknown = [str(w.message) for w in told if "supports vLLM" in str(w.message)]
    if unknown:
        raise ConfigError("use_vllm", True, expected="a version of vLLM that TRL works with", then=unknown[0].split(" We ")[0])


class Engine(trl_vllm.VLLMGeneration):
    """TRL's `VLLMGeneration` that computes in the trainer's dtype, on a processor, too, and says what is wrong with it.

    TRL tells `vllm.LLM` no dtype. vLLM then takes the checkpoint's, and bf16 for one in float32: the sampler's log-probabilities
    drift from the trainer's, and the importance correction masks whole sequences.

    Raises:
        ConfigError: an option that cannot work on a processor.
        RunError: a server that is not there, serves another model, in another dtype, or was not started for training.
    """

    def _init_vllm(self) -> None:
        dtype = PRECISION.get(self.accelerator.mixed_precision, self.model.dtype)
        options: dict[str, Any] = {"dtype": str(dtype).removeprefix("torch.")}
        client = trl_vllm.VLLMClient
        if self.accelerator.device.type == "cpu":
            if self.enable_sleep_mode:
                raise ConfigError(
                    "vllm_enable_sleep_mode",
                    True,
                    expected="false on a processor: there is no second memory to sleep in",
                    then="Leave it out.",
                )
            from g2rpo.training.engine import cpu

            options |= cpu.engine_options()
            client = cpu.FolderClient
        if self.mode == "server":
            url = self.server_base_url or f"http://{self.server_host}:{self.server_port}"
            with _replaced(trl_vllm, VLLMClient=client), _served(url):
                super()._init_vllm()
            if self.accelerator.is_main_process:
                self._check_server(dtype)
        else:
            with _replaced(trl_vllm, LLM=functools.partial(trl_vllm.LLM, **options)):
                super()._init_vllm()

    def _check_server(self, dtype: torch.dtype) -> None:
        """What would go wrong in the middle of a run, or not be seen at all: its weights are overwritten with the trainer's."""
        served, url = self.vllm_client.get_server_info()["model_config"], self.vllm_client.base_url
        name = self.model.name_or_path
        if Path(name).name not in {Path(known).name for known in (served["model"], self.vllm_client.model)}:
            raise RunError(
                f"model of the server at {url}",
                self.vllm_client.model,
                expected=f"{name!r}, which is trained",
                then=f"Start it with that model, or, where it has it under another name, with --served-model-name {name}.",
            )
        if served["dtype"] != str(dtype):
            raise RunError(
                f"dtype of the server at {url}",
                served["dtype"],
                expected=f"{dtype}, in which the trainer computes",
                then=f"Start it with --dtype {str(dtype).removeprefix('torch.')}.",
            )
        self.max_model_length = served["max_model_len"]


@contextmanager
def _served(url: str) -> Iterator[None]:
    """Turns what TRL's client says of a server into a sentence."""
    then = "Start it with VLLM_SERVER_DEV_MODE=1 and the options of docs/engines.md."
    try:
        yield
    except OSError as error:
        raise RunError(
            "vllm_server_base_url", url, expected="a vLLM server that answers there", then=f"{error} {then}"
        ) from error
    except RuntimeError as error:
        raise RunError(f"the server at {url}", expected="one that was started for training", then=f"{error} {then}") from error


@contextmanager
def _replaced(module: Any, **values: Any) -> Iterator[None]:
    kept = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            setattr(module, name, value)
        yield
    finally:
        for name, value in kept.items():
            setattr(module, name, value)


def end(trainer: Any) -> None:
    """The last call of a process that trained: an engine in it goes first, since it holds groups of the process group."""
    trainer.accelerator.wait_for_everyone()
    llm = getattr(getattr(trainer, "vllm_generation", None), "llm", None)
    if llm is not None:
        llm.llm_engine.engine_core.shutdown()
    trainer.accelerator.end_training()  # without it, gloo may abort at exit
