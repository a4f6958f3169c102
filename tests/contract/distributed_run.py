"""Trains a few guided steps and writes what the controller saw; run by the test beside it with one and with two processes."""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from g2rpo import GuidedGRPOConfig, GuidedGRPOTrainer
from g2rpo.data.load import to_rows
from g2rpo.data.tasks import make
from g2rpo.method.controller import state_to_json

KEYS: list[list[str]] = []
"""Of each generation batch, the problems that this process had, in order."""


def length_reward(completions, key, **columns):
    KEYS.append(list(key))
    return [float(len(c[0]["content"]) % 5) / 4 for c in completions]


def main(model: str, output: str, batch: int, controller: str, learning_rate: float = 1e-3) -> None:
    torch.set_num_threads(1)
    args = GuidedGRPOConfig(
        output,
        use_cpu=True,
        bf16=False,
        max_steps=3,
        num_generations=6,
        per_device_train_batch_size=batch,
        max_completion_length=56,
        learning_rate=learning_rate,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        guidance_controller=controller,
        guidance_controller_kwargs={"initial_length": 12, "max_length": 40} if controller == "paper" else None,
        gradient_accumulation_steps=2,
        shuffle_dataset=controller != "paper",
    )
    # ZeRO-3 makes weights in the dtype of its launch, float32 here; without this, all others would train those of the file, in bf16.
    trainer = GuidedGRPOTrainer(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        [length_reward],
        args,
        to_rows(make("chains", "train", 12, steps=4)),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.train()
    steps = [
        {k: v for k, v in r.items() if k.startswith("guidance/") or k in ("reward", "loss", "grad_norm")}
        for r in trainer.state.log_history
        if "loss" in r
    ]
    result = {"state": state_to_json(trainer.controller_state), "steps": steps, "keys": KEYS}
    with open(f"{output}-{trainer.accelerator.process_index}.json", "w") as file:
        json.dump(result, file)
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], *map(float, sys.argv[5:]))
