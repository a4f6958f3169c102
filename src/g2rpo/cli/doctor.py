"""`g2rpo doctor`: what this machine offers, or what a recipe would do on it, in one screen."""

import os
import platform
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console
from rich.table import Table
from rlvr_graders.cli.self_test import sandbox_table

from g2rpo.processor import computes_bf16

OPTIONAL = {
    "peft": "LoRA",
    "vllm": "fast generation",
    "deepspeed": "ZeRO",
    "flash-attn": "fast attention",
    "bitsandbytes": "quantized models",
}


def run_doctor(console: Console | None = None) -> int:
    """Prints the tables; 0 when training can work here, 1 when something needed is missing.

    Each sandbox level is started and tested, beside the import of PyTorch. Without one, everything but the code reward
    works.
    """
    with ThreadPoolExecutor(1) as threads:
        sandboxes = threads.submit(sandbox_table)
        table, healthy = _machine_table()
    console = console or Console()
    console.print(table)
    console.print(sandboxes.result())
    return 0 if healthy else 1


def run_recipe_doctor(recipe: Any, problems: int, samples: int | None, console: Console | None = None) -> int:
    """Prints what a recipe's model does with its problems, what is wrong, and one recommendation; 1 where something must be
    mended."""
    from g2rpo.training.doctor import examine

    probe, found, advice = examine(recipe, problems, samples)
    plain = probe.levels[0]
    table = Table(
        title=f"{len(plain.groups)} problems, {plain.group_size} samples each; any right, mixed: shares of groups",
        title_justify="left",
    )
    for column in ("given", "right", "any right", "mixed", "no end", "no answer", "wrong", "tokens"):
        table.add_column(column, justify="left" if column == "given" else "right", no_wrap=column == "given")
    for level in probe.levels:
        shares = (level.rate, level.succeeded, level.spread)
        counts = (level.unended, level.unanswered, level.wrong, round(level.tokens))
        table.add_row(level.name, *(f"{share:.0%}" for share in shares), *map(str, counts))
    console = console or Console()
    console.print(table)
    notes = [f"perplexity of the traces {probe.perplexity:.3g}"] if probe.perplexity is not None else []
    if probe.logprob_gap is not None:
        notes.append(f"log-probabilities of sampler and forward pass differ by at most {probe.logprob_gap:.1g} nats")
    told = [f"{f.name}: {f.what}. {f.then}" for f in found if f.then != advice.how]
    for line in filter(None, ["; ".join(notes), *told]):
        console.print(line, markup=False)
    console.print(f"Recommendation: {advice.move} ({advice.why}). {advice.how}", markup=False, style="bold")
    return int(any(f.fault for f in found))


def _machine_table() -> tuple[Table, bool]:
    """Versions and devices, and whether all that is needed is there."""
    import torch

    table = Table(title=f"g2rpo {version('g2rpo')}", title_justify="left")
    table.add_column("what")
    table.add_column("found")
    table.add_column("means")
    table.add_row("python", platform.python_version(), f"{platform.system()} {platform.machine()}")
    table.add_row(
        "processor",
        f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads for PyTorch, bf16 {'yes' if computes_bf16() else 'no'}",
    )
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(i)
            table.add_row(
                f"GPU {i}",
                card.name,
                f"{card.total_memory / 2**30:.0f} GiB, bf16 {'yes' if torch.cuda.is_bf16_supported() else 'no'}",
            )
    else:
        table.add_row("GPU", "none", "trains on the processor: right for the built-in model, slow above some 10 M parameters")
    healthy = True
    for name in ("torch", "transformers", "trl", "accelerate", "datasets", "math-verify"):
        found = _version(name)
        healthy &= found is not None
        table.add_row(name, found or "missing", "" if found else f"needed: pip install {name}")
    for name, use in OPTIONAL.items():
        table.add_row(name, _version(name) or "not installed", f"optional: {use}")
    free = shutil.disk_usage(".").free / 2**30
    table.add_row(
        "disk here", f"{free:.1f} GiB free", "" if free > 5 else "a checkpoint with optimizer takes 12 bytes a parameter and more"
    )
    return table, healthy


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
