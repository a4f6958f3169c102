"""SFT is what it says: the token mean over the whole accumulation window, as a few lines of plain PyTorch compute it.

The baseline that decides must not have the two defects that arXiv 2604.23747 found in popular code: micro-batches dropped by the
optimizer, and a mean of micro-batch means.
"""

import pytest
import torch
from transformers import AutoModelForCausalLM

from g2rpo.training.sft import completions_dataset, resolve_sft, train_sft

RATE = 0.5


@pytest.mark.parametrize(("batch", "accumulate"), [(6, 1), (2, 3), (1, 6)])
def test_one_step_is_the_token_mean_over_the_window(checkpoint, tokenizer, tmp_path, batch, accumulate):
    model = checkpoint("qwen3")
    fields = {
        "model_name_or_path": model,
        "dtype": "float32",
        "task": "chains",
        "task_steps": [1, 6],
        "task_size": 6,
        "max_steps": 1,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulate,
        "learning_rate": RATE,
        "optim": "sgd",
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "output_dir": str(tmp_path / "run"),
    }
    recipe = resolve_sft(fields)
    rows = completions_dataset(recipe.data.problems(), recipe.data.guidance_style, tokenizer)
    lengths = [sum(mask) for mask in rows["completion_mask"]]
    assert max(lengths) > 2 * min(lengths)  # a mean of means would differ
    trainer = train_sft(recipe, quiet=True)
    assert trainer.trained_tokens == sum(lengths)

    reference = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    total = torch.zeros(())
    for row in rows:
        logp = torch.log_softmax(reference(torch.tensor([row["input_ids"]])).logits[0, :-1], -1)
        wanted = torch.tensor(row["input_ids"][1:])
        total = total - (logp.gather(1, wanted[:, None])[:, 0] * torch.tensor(row["completion_mask"][1:])).sum()
    (total / sum(lengths)).backward()
    trained = dict(trainer.model.named_parameters())
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(trained[name], parameter - RATE * parameter.grad, atol=2e-6, rtol=1e-4)
