"""How likely a model finds a trace after its problem: among several worked solutions, the one nearest to what the student would
write."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from g2rpo.data.completion import style
from g2rpo.data.problem import Problem
from g2rpo.data.trace_choice import Score
from g2rpo.method.prefix import encode_plain

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def trace_score(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, style_name: str = "think_answer", max_tokens: int = 8192
) -> Score:
    """A score for `pick_traces`: the mean log-probability per token of prompt-conditioned traces, so that length does not decide.

        score(g) = 1/|g| sum_t log p(g_t | prompt, g_<t)

    A trace of more than `max_tokens` tokens is scored by its beginning. Traces go through the model one at a time: no padding can
    change a score.
    """
    import torch

    model.eval()

    @torch.no_grad()
    def score(problem: Problem, traces: Sequence[str]) -> list[float]:
        prompt = problem.prompt
        if not isinstance(prompt, str):
            prompt = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        before = style(style_name).opened_by(prompt).before_trace
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        start = [*start, *tokenizer(before, add_special_tokens=False)["input_ids"]] if before else start
        scores = []
        for trace in traces:
            own = encode_plain(tokenizer, trace)[0][:max_tokens]
            ids_1T = torch.tensor([[*start, *own]], device=model.device)
            logits_TV = model(ids_1T, logits_to_keep=len(own) + 1).logits[0, :-1]
            logprobs_TV = torch.log_softmax(logits_TV.float(), dim=-1)
            scores.append(float(logprobs_TV.gather(1, ids_1T[0, -len(own) :, None]).mean()))
        return scores

    return score
