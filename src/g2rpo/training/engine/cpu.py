"""vLLM on a processor: what TRL and vLLM take for granted of a GPU, done another way where there is none.

    weights        vLLM packs the weights of linear layers for the processor after loading and drops what it was given; TRL then
                   finds nothing to write new weights to. They are left plain.
    transfer       TRL sends weights to a server over NCCL. They go by a folder that trainer and server both see, and the worker
                   loads them as it loaded the first ones.
    memory         vLLM takes a share of the whole memory for keys and values, in each process; threads stay unbound, since those
                   of a colocated engine are the trainer's, too.

Switched on by the platform (`on_this_machine`) in the trainer; a server is started with the class below as its worker extension:

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --worker-extension-cls g2rpo.training.engine.cpu.PlainWeights --enforce-eager …

Importing this module changes vLLM, so nothing imports it on a machine with an accelerator.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import vllm.model_executor.layers.utils as vllm_layers
from safetensors.torch import load_file, save_file
from trl.generation.vllm_client import VLLMClient
from vllm.platforms import current_platform

from g2rpo.evaluation.engines import processor_options

EXTENSION = f"{__name__}.PlainWeights"
WEIGHTS_FOLDER = "G2RPO_WEIGHTS_FOLDER"
"""Environment variable: where weights are put down for a server; it must see the folder under the same name. The folder for
temporary files without it."""


def _leave_plain(layer: torch.nn.Module, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear


if current_platform.is_cpu():
    vllm_layers.dispatch_cpu_unquantized_gemm = _leave_plain


class PlainWeights:
    """Worker extension of vLLM; its methods are called by name through `collective_rpc`."""

    def load_weights_from(self, file: str) -> None:
        """Loads parameters, under the names of the Hugging Face checkpoint, from a safetensors file."""
        self.model_runner.model.load_weights(load_file(file).items())


def engine_options() -> dict[str, Any]:
    """What `vllm.LLM` is told beside TRL's options; sets the environment that vLLM reads."""
    return {"worker_extension_cls": EXTENSION, **processor_options()}


class FolderClient(VLLMClient):
    """TRL's client, with weights that go by a folder."""

    def init_communicator(self, device: Any = 0) -> None:
        if self.get_server_info()["parallel_config"].get("worker_extension_cls") != EXTENSION:
            raise RuntimeError(f"it has no {EXTENSION}; start it with --worker-extension-cls {EXTENSION}")

    def update_named_params(self, metadata: list, named_params: Iterator[tuple[str, torch.Tensor]]) -> None:
        folder = tempfile.mkdtemp(prefix="g2rpo-weights-", dir=os.environ.get(WEIGHTS_FOLDER))
        try:
            file = os.path.join(folder, "model.safetensors")
            # Adapters are merged only while the iterator is at their parameter: each tensor is copied as it comes.
            save_file({name: tensor.detach().clone().contiguous() for name, tensor in named_params}, file)
            call = {"method": "load_weights_from", "args": [file]}
            self._post(f"{self.base_url}/collective_rpc", json=call)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
