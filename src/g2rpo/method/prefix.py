"""A trace as token ids, and its first l tokens: cut on ids, once, before training; never text cut and encoded again.

The guidance of a rollout is the beginning of the completion the model should write: the text before the trace (an opening
think tag, say) and the trace. It is encoded alone, not together with the prompt, so that the seam is the same whatever the
length, and ids are what is spliced. Control tokens written out inside a trace (an EOS, a chat marker) are encoded as the plain
characters they are: they can neither end nor restart a turn.
"""

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from g2rpo.data.steps import step_ends
from g2rpo.errors import DataError
from g2rpo.method.controller import Unit
from g2rpo.method.leak_guard import leak_start

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Cut = Literal["token", "step"]
"""Where a prefix may end: after any token, or only where a reasoning step is complete."""
CUTS: tuple[str, ...] = get_args(Cut)


@dataclass(frozen=True)
class TraceTokens:
    """What may be revealed of one trace: its ids up to the leak guard's place, and where its reasoning steps end."""

    ids: tuple[int, ...]
    step_ends: tuple[int, ...]
    """Token counts after which a whole reasoning step is complete, rising."""

    def length(self, amount: float, unit: Unit) -> int:
        """Tokens for a length in a unit: whole tokens, never more than may be revealed, never negative.

        Fractions round down; `steps` count from the beginning, and a number beyond the last step reveals all of them.
        """
        if amount <= 0 or not self.ids:
            return 0
        if unit == "steps":
            whole = int(amount)
            return self.step_ends[min(whole, len(self.step_ends)) - 1] if whole and self.step_ends else 0
        tokens = amount * len(self.ids) + 1e-9 if unit == "fraction" else amount
        return min(int(tokens), len(self.ids))

    def whole_steps(self, tokens: int, limit: int) -> int:
        """The end of a step nearest to `tokens`, none being one of them; the shorter of two; at most `limit`."""
        return min((end for end in (0, *self.step_ends) if end <= limit), key=lambda end: (abs(end - tokens), end))


def tokenize_trace(
    tokenizer: "PreTrainedTokenizerBase", before_trace: str, trace: str, answer: str | None, guard: str = "strict"
) -> TraceTokens:
    """Encodes `before_trace + trace` and keeps the tokens that end before the leak guard's place.

    Raises:
        DataError: a slow tokenizer (no character offsets), or ids that would end a turn all the same.
    """
    text = before_trace + trace
    stop = len(before_trace) + leak_start(trace, answer, guard)
    ids, offsets = encode_plain(tokenizer, text)
    allowed = next((i for i, (_, end) in enumerate(offsets) if end > stop), len(ids))
    ends = [end for _, end in offsets[:allowed]]
    # The line break belongs to the step it ends; a step that the guard cuts short is not a whole one.
    places = [len(before_trace) + place for place in step_ends(trace)]
    steps = {bisect.bisect_right(ends, place) for place in places if place <= stop}
    return TraceTokens(tuple(ids[:allowed]), tuple(sorted(steps - {0})))


def encode_plain(tokenizer: "PreTrainedTokenizerBase", text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and character offsets of a text in which every control token counts as plain characters."""
    if not tokenizer.is_fast:
        raise DataError(
            "tokenizer",
            type(tokenizer).__name__,
            expected="a fast tokenizer, which gives character offsets",
            then="Load it with use_fast=True, or convert it with AutoTokenizer.",
        )
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    ids = encoded["input_ids"]
    control = set(tokenizer.all_special_ids)
    bad = [i for i in ids if i in control]
    if bad:
        raise DataError(
            "trace",
            text,
            expected="a text that encodes without control tokens",
            then=f"It encodes to {tokenizer.convert_ids_to_tokens(bad[:3])}; remove them from the trace.",
        )
    return ids, encoded["offset_mapping"]
