"""Trains guided rows through the real vLLM and writes what was asked, answered and computed; run by the tests beside it.

python -m tests.engines.vllm_run OUT --model builtin --steps 32 [--server URL] [--lora] [--reuse] [--dtype bfloat16]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import trl.trainer.grpo_trainer as trl_trainer
from datasets import Dataset
from peft import LoraConfig

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.data.load import to_rows
from g2rpo.data.tasks import make
from g2rpo.models import resolve_model
from g2rpo.training.engine.start import end

GIVEN = 7
"""Tokens of guidance: inside words and numbers of most traces."""
COMPLETION, ROWS, GROUP = 96, 32, 8


def length_reward(completions, **columns):
    return [len(c[0]["content"]) % 5 / 4 for c in completions]


def greedy(trainer: Any, prompts: list[list[int]]) -> dict[str, list[list[int]]]:
    """What the engine and the trainer's own model say without chance."""
    from trl.generation.vllm_generation import VLLMGeneration

    engine = trainer.vllm_generation
    kept = engine.temperature
    engine.temperature = 0.0
    try:
        _, theirs, _, _ = VLLMGeneration.generate(engine, prompts, None, 1)
    finally:
        engine.temperature = kept
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    ours = []
    with torch.no_grad():
        for ids in prompts:
            out = model.generate(
                torch.tensor([ids]),
                max_new_tokens=COMPLETION,
                do_sample=False,
                pad_token_id=trainer._tokenizer.pad_token_id,
                eos_token_id=list(trainer.eos_token_ids),
            )
            ours.append(out[0, len(ids) :].tolist())
    model.train()
    return {"engine": [list(x) for x in theirs], "model": ours}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--server")
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = to_rows(make("chains", "train", 64, steps=6)).to_list()
    for row in rows[::2]:  # written out, the end of a turn is text like any other
        row["trace"] = "<|im_end|> " + row["trace"]
    where = {"vllm_mode": "server", "vllm_server_base_url": asked.server} if asked.server else {"vllm_mode": "colocate"}
    args = GuidedGRPOConfig(
        str(asked.out.with_suffix("")),
        use_cpu=True,
        bf16=asked.dtype == "bfloat16",
        max_steps=asked.steps,
        num_generations=GROUP,
        per_device_train_batch_size=ROWS,
        max_completion_length=COMPLETION,
        learning_rate=1e-3 if asked.model == "builtin" or asked.lora else 1e-5,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        guidance_controller="fixed",
        guidance_controller_kwargs={"length": GIVEN},
        use_vllm=True,
        vllm_max_model_length=256,
        reuse_sampler_logprobs=asked.reuse,
        model_init_kwargs={"dtype": "float32"},
        **where,
    )
    model = resolve_model("builtin") if asked.model == "builtin" else asked.model
    lora = LoraConfig(r=8, lora_alpha=64, target_modules="all-linear", lora_dropout=0.0) if asked.lora else None
    trainer = GuidedGRPOTrainer(model, [length_reward], args, Dataset.from_list(rows), peft_config=lora)
    result: dict[str, Any] = {"rows": [], "differences": [], "masked": 0, "refused": 0, "ratios": [], "inside_words": 0}
    engine = trainer.vllm_generation

    answered: list[tuple[list[int], list[int]]] = []
    generate = engine.generate

    def watched(prompts, images, num_generations, profiler=None):
        answer = generate(prompts, images, num_generations, profiler)
        answered[:] = list(zip(prompts, answer[1], strict=True))
        return answer

    engine.generate = watched
    advantages = trainer._advantages

    def looked_at(output, *rest):
        for i, (prompt, ids) in enumerate(answered):
            ours = output["prompt_ids"][i][output["prompt_mask"][i].bool()].tolist()
            completion = output["completion_ids"][i][output["completion_mask"][i].bool()].tolist()
            given = len(prompt) - len(ours)
            text = trainer._tokenizer.decode(completion[:given])
            result["inside_words"] += (
                bool(given) and text[-1:].isalnum() and trainer._tokenizer.decode(completion)[len(text) :][:1].isalnum()
            )
            sampled = slice(given, len(completion))
            result["rows"].append(
                {
                    "guided": given,
                    "matches": prompt == ours + completion[:given] and completion[given:] == list(ids),
                    "length": len(completion),
                    "ends_early": any(t in trainer.eos_token_ids for t in completion[:-1]),
                }
            )
            difference = output["old_per_token_logps"][i][sampled] - output["sampling_per_token_logps"][i][sampled]
            result["differences"] += difference.abs().tolist()
            result["ratios"] += output["importance_sampling_ratio"][i].flatten().tolist()
        return advantages(output, *rest)

    trainer._advantages = looked_at
    prompts = trainer._tokenize_prompts([row["prompt"] for row in rows])[0][:64]
    result["before"] = greedy(trainer, prompts)
    trainer.train()
    engine.sync_weights()
    result["after"] = greedy(trainer, prompts)
    result["engine_class"] = type(engine).__name__
    assert trl_trainer.VLLMGeneration is not type(engine)  # stood in for TRL's only while the trainer was made
    asked.out.write_text(json.dumps(result))
    end(trainer)


if __name__ == "__main__":
    main()
