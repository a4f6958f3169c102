"""One step with a second round in which the first process alone has failed groups; run by `test_processes.py` with two."""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.data.load import to_rows
from g2rpo.data.tasks import make
from g2rpo.training.presets import preset

RANK = int(os.environ.get("RANK", "0"))
CALLS = []


def reward(completions, **columns):
    CALLS.append(len(completions))
    failed = RANK == 0 and len(CALLS) == 1
    return [0.0 if failed else float(i % 4 == 2) for i in range(len(completions))]


def main(model: str, output: str, name: str) -> None:
    torch.set_num_threads(1)
    args = GuidedGRPOConfig(
        output,
        use_cpu=True,
        bf16=False,
        max_steps=1,
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=48,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **preset(name),
    )
    trainer = GuidedGRPOTrainer(
        AutoModelForCausalLM.from_pretrained(model),
        [reward],
        args,
        to_rows(make("chains", "train", 12, steps=4)),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    generate, batches = trainer._generate_and_score_completions, []
    trainer._generate_and_score_completions = lambda inputs: batches.append(generate(inputs)) or batches[-1]
    trainer.train()
    [batch] = batches
    result = {
        "calls": CALLS,
        "advantages": batch["advantages"].tolist(),
        "items": float(batch["num_items_in_batch"]),
        "tokens": float((batch["completion_mask"]).sum()),
        "hinted": [bool((~row.isnan()).any()) for row in batch["hinted_logps"]] if "hinted_logps" in batch else None,
    }
    with open(f"{output}-{RANK}.json", "w") as file:
        json.dump(result, file)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(*sys.argv[1:])
