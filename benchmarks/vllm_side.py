"""vLLM's engine for processors as a side of `benchmarks.decode`: the same shapes, prompts and lengths, one thread, in this
process."""

import os
import tempfile

import torch
from transformers import AutoModelForCausalLM

from benchmarks import scripted

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "autocast": "bfloat16"}


class Engine:
    """An engine with random weights of the case's model."""

    def __init__(self, case, vocabulary: int) -> None:
        os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_CPU_KVCACHE_SPACE="2", VLLM_LOGGING_LEVEL="ERROR")
        from vllm import LLM

        with tempfile.TemporaryDirectory() as folder:
            AutoModelForCausalLM.from_config(scripted.config_of(case.model, vocabulary)).save_pretrained(folder)
            self.engine = LLM(
                folder,
                skip_tokenizer_init=True,
                dtype=DTYPES[case.precision],
                enforce_eager=True,
                max_num_seqs=case.groups * case.rows,
                max_model_len=case.prompt + case.longest,
                disable_log_stats=True,
            )
        torch.set_num_threads(1)

    def sample(self, prompts: list[list[int]], lengths: list[int]) -> list[int]:
        """Samples as many tokens of each row as it is told; gives how many."""
        from vllm import SamplingParams

        settings = [SamplingParams(temperature=1.0, max_tokens=n, ignore_eos=True, detokenize=False) for n in lengths]
        rows = self.engine.generate([{"prompt_token_ids": ids} for ids in prompts], settings, use_tqdm=False)
        return [len(row.outputs[0].token_ids) for row in rows]
