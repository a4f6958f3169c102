"""GRPO with TRL on sums of nine steps: `python before.py OUTPUT_FOLDER`. The same with guidance: after.py, which differs in two
names."""

import sys
from pathlib import Path

from datasets import load_dataset
from rlvr_graders.math import math_accuracy
from trl import GRPOConfig, GRPOTrainer

from g2rpo.models import resolve_model

HERE = Path(__file__).parent

trainer = GRPOTrainer(
    model=resolve_model("builtin"),  # the folder of a small model that comes with g2rpo; any hub name works
    reward_funcs=[math_accuracy],
    args=GRPOConfig(
        output_dir=sys.argv[1],
        max_steps=4,
        per_device_train_batch_size=16,
        num_generations=8,
        max_completion_length=112,
        learning_rate=5e-5,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
    ),
    train_dataset=load_dataset("json", data_files=str(HERE / "sums.jsonl"), split="train"),  # prompt, answer, trace
)
trainer.train()
