"""Accuracy on held-out problems, never guided: one sample per problem, each with its own seed, so the same everywhere."""

from collections.abc import Callable, Sequence

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from g2rpo.data.problem import Problem
from g2rpo.sampling.sample import sample_rows
from g2rpo.seeds import seed_of


def held_out_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    reward: Callable[..., list[float | None]],
    *,
    max_completion_length: int,
    temperature: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
) -> list[float]:
    """The reward of one sampled completion per problem, in order; a completion that was not scored counts 0.

    Args:
        temperature: 0 decodes greedily.
        seed: With the problem's key, the randomness of its sample.
    """
    config = GenerationConfig(do_sample=temperature > 0, temperature=temperature if temperature > 0 else None)
    was_training = model.training
    model.eval()
    scores: dict[int, float] = {}
    # Long prompts together: less filler.
    prompts = [
        tokenizer(p.prompt)["input_ids"]
        if isinstance(p.prompt, str)
        else tokenizer.apply_chat_template(p.prompt, add_generation_prompt=True, return_dict=False)
        for p in problems
    ]
    order = sorted(range(len(problems)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        rows = sample_rows(
            model,
            [prompts[i] for i in batch],
            [max_completion_length] * len(batch),
            config,
            eos_ids=[tokenizer.eos_token_id],
            pad_id=tokenizer.pad_token_id,
            seeds=[seed_of(seed, "held-out", problems[i].key) for i in batch] if temperature > 0 else None,
        )
        texts = tokenizer.batch_decode([r.ids for r in rows], skip_special_tokens=True)
        completions = [[{"role": "assistant", "content": t}] for t in texts]
        columns = {name: [getattr(problems[i], name) for i in batch] for name in ("answer", "tests")}
        for i, score in zip(batch, reward(completions=completions, **columns), strict=True):
            scores[i] = score or 0.0
    model.train(was_training)
    return [scores[i] for i in range(len(problems))]
