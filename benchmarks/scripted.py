"""A model with random weights whose rollouts have the lengths that a benchmark asks for, on whichever side samples them.

A step's cost depends on the lengths of its rollouts, so two sides that are compared must sample the same lengths, though each
draws its own random numbers and orders its rows as it likes. Here the tokens themselves carry the script: the last token of a
prompt names a length L, the first sampled token draws one of four lengths around it, and from then on every token counts down by
one, in one of four variants at random, until EOS. The model computes all that a real one computes; then its logits are raised on
the four tokens that may follow the last one. That needs the last token only, whatever the cache and the order of the rows, and
touches generation only: the loss sees the plain model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

SIZES = {
    "1m": (128, 4, 384, 1),
    "25m": (512, 8, 1344, 4),
    "100m": (768, 12, 2560, 6),
    "smollm2-135m": (576, 30, 1536, 3),
    "0.5b": (896, 24, 4864, 2),
}
"""Hidden size, layers, width of the MLP, heads of keys and values; every head has 64 dimensions. The names say about how many
parameters the layers have, whatever the vocabulary. Two have the shapes of known models: SmolLM2-135M (vocabulary 49,152) and
Qwen2.5-0.5B (151,936)."""
PAD, EOS, CHOICES = 0, 1, 4
SPREAD = (0.7, 0.9, 1.1, 1.3)
"""Lengths that follow a name L, as shares of it."""
BOOST = 60.0


@dataclass(frozen=True)
class Layout:
    """Which token means what: pad, eos, names of lengths, countdowns (remaining tokens x variant), filler for prompts."""

    vocabulary: int
    longest: int

    @property
    def filler(self) -> int:
        return self.countdown(self.longest)

    def name(self, length: int) -> int:
        return 2 + length

    def countdown(self, remaining: int) -> int:
        return 3 + self.longest + CHOICES * remaining

    def following(self, spread: Sequence[float]) -> torch.Tensor:
        """The four tokens that may follow each token, [vocabulary, 4]."""
        table = torch.full((self.vocabulary, CHOICES), EOS)
        for length in range(2, self.longest + 1):
            for choice, share in enumerate(spread):
                drawn = min(max(round(share * length), 2), self.longest)
                table[self.name(length), choice] = self.countdown(drawn - 1) + choice
        for remaining in range(2, self.longest):
            for variant in range(CHOICES):
                table[self.countdown(remaining) + variant] = self.countdown(remaining - 1) + torch.arange(CHOICES)
        return table


def tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Word `t17` is token 17."""
    words = {f"t{i}": i for i in range(2, vocabulary)} | {"<pad>": PAD, "<eos>": EOS}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def config_of(size: str, vocabulary: int) -> PreTrainedConfig:
    """A Qwen3 of this size; a Llama where the shapes are those of one."""
    hidden, layers, width, key_heads = SIZES[size]
    fields = dict(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        intermediate_size=width,
        head_dim=64,
        num_attention_heads=hidden // 64,
        num_key_value_heads=key_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    return LlamaConfig(**fields) if size.startswith("smollm2") else Qwen3Config(**fields)


def model(size: str, layout: Layout, spread: Sequence[float] = SPREAD, seed: int = 0) -> PreTrainedModel:
    """A model of this size with random weights, steered while no gradients are recorded."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(config_of(size, layout.vocabulary))
    following, last = layout.following(spread), {}

    def read(module, arguments):
        last["ids"] = arguments[0]

    def steer(module, arguments, logits):
        ids = last["ids"]
        if torch.is_grad_enabled() or logits.dim() != 3 or logits.shape[0] != ids.shape[0]:
            return
        if last.setdefault("following", following).device != ids.device:
            last["following"] = following.to(ids.device)  # once: a recording of steps cannot hold a copy to the device
        tokens = last["following"][ids[:, -1]]
        logits[:, -1].scatter_add_(1, tokens, torch.full_like(tokens, BOOST, dtype=logits.dtype))

    made.get_input_embeddings().register_forward_pre_hook(read)
    made.get_output_embeddings().register_forward_hook(steer)
    return made


def lengths(profile: str, groups: int, longest: int) -> list[int]:
    """The length named by each group of a step.

    even: all rows alike, three quarters of the longest; moderate: from a fifth of the longest to all of it, evenly; uneven: most
    rows are short, a few are long (from a sixteenth, geometrically; the mean is near 0.3). A single group names half of the
    longest.
    """
    top = longest / SPREAD[-1]
    if groups == 1:
        return [round(longest / 2)]
    if profile == "even":
        return [round(0.75 * longest)] * groups
    if profile == "moderate":
        return [round(x) for x in np.linspace(0.2 * longest, top, groups)]
    if profile == "uneven":
        return [round(x) for x in np.geomspace(longest / 16, top, groups)]
    raise ValueError(f"profile is {profile!r}. Expected even, moderate or uneven.")


def rows(layout: Layout, named: Sequence[int], prompt: int, dead: float, steps: int, seed: int = 0) -> Dataset:
    """One row per group and step, to be read in order: the same lengths in every step, on other prompts and in another order.

    A share `dead` of the groups gets equal rewards, so no advantage.
    """
    random = np.random.default_rng(seed)
    made = []
    for _ in range(steps):
        order = random.permutation(len(named))
        for place, group in enumerate(order):
            words = random.integers(layout.filler, layout.vocabulary, prompt - 1).tolist()
            text = " ".join(f"t{i}" for i in [*words, layout.name(named[group])])
            made.append({"prompt": text, "alive": place >= round(dead * len(named))})
    return Dataset.from_list(made)


def scripted_reward(completion_ids: list[list[int]], alive: list[bool], **columns) -> list[float]:
    """0, 1, 0, 1, … in the groups that are alive, 0 in the others."""
    return [float(i % 2) if lives else 0.0 for i, lives in enumerate(alive)]
