"""The engine of `g2rpo eval` against plain loops around `model.generate`, on the same prompts, greedy.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluation [--model builtin] [--suite chains:3-12] [--limit 128] [--rounds 3]

    one by one   one prompt per call, as a first script does it
    in order     batches of 32 in the order of the data, padded: what a second script does
    engine       what `g2rpo eval` does: sorted by length, large batches, finished rows leave

Interleaved; printed are medians, their ratios, and how many of the completions are the same tokens.
"""

import argparse
import json
import statistics
import time

import torch

from g2rpo.evaluation.checkpoint import load_checkpoint
from g2rpo.evaluation.engines import Decoding, TransformersEngine, batches, requests
from g2rpo.evaluation.prompts import suite_prompt_ids, template_of
from g2rpo.evaluation.suite import load_suite


def generate(checkpoint, plan, size: int) -> list[list[int]]:
    """New ids per request, by `model.generate` on batches of `size` in the order given."""
    found = []
    for start in range(0, len(plan), size):
        batch = plan[start : start + size]
        longest = max(len(r.ids) for r in batch)
        ids = torch.tensor([[checkpoint.pad_id] * (longest - len(r.ids)) + list(r.ids) for r in batch])
        mask = torch.tensor([[0] * (longest - len(r.ids)) + [1] * len(r.ids) for r in batch])
        out = checkpoint.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=batch[0].budget,
            do_sample=False,
            eos_token_id=checkpoint.eos_ids,
            pad_token_id=checkpoint.pad_id,
        )
        for row in out[:, longest:].tolist():
            end = next((i + 1 for i, token in enumerate(row) if token in checkpoint.eos_ids), len(row))
            found.append(row[:end])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--suite", default="chains:3-12")
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    checkpoint, suite = load_checkpoint(options.model), load_suite(options.suite)
    problems = suite.problems(limit=options.limit)
    prompts = suite_prompt_ids(suite, problems, checkpoint.tokenizer, template_of(checkpoint.tokenizer))
    keys = [p.key for p in problems]
    plan = requests(
        prompts, keys, 1, budget=suite.max_tokens, room=checkpoint.room, seeds=lambda key, sample: 0, suite=suite.name
    )
    engine = TransformersEngine(checkpoint.model, checkpoint.tokenizer, Decoding())

    def ours() -> list[list[int]]:
        found: list[list[int]] = [[] for _ in plan]
        for batch in batches(plan, engine.rows(max(len(r.ids) + r.budget for r in plan))):
            for request, ids in zip(batch, engine(batch), strict=True):
                found[request.problem] = ids
        return found

    ways = {
        "one by one": lambda: generate(checkpoint, plan, 1),
        "in order": lambda: generate(checkpoint, plan, 32),
        "engine": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    outputs = {}
    with torch.inference_mode():
        for _ in range(options.rounds):
            for name, way in ways.items():
                began = time.perf_counter()
                outputs[name] = way()
                seconds[name].append(time.perf_counter() - began)
    table = {}
    for name in ways:
        same = sum(a == b for a, b in zip(outputs[name], outputs["one by one"], strict=True))
        ratio = statistics.median(s / e for s, e in zip(seconds[name], seconds["engine"], strict=True))
        table[name] = {"seconds": statistics.median(seconds[name]), "engine_is_faster_by": ratio, "same_outputs": same}
        print(f"{name:<11} {table[name]['seconds']:8.2f} s   engine {ratio:5.2f} x   {same} of {len(plan)} completions the same")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"prompts": len(plan), "tokens": sum(map(len, outputs["engine"])), **table}, file, indent=2)


if __name__ == "__main__":
    main()
