"""The one place that turns a problem into the completion text a model should learn, and says which part is the trace.

The published recipe answers in `<think>…</think><answer>…</answer>`. Models whose chat template already opens the think
block get the completion without the opening tag, so that nothing is ever said twice.
"""

from dataclasses import dataclass, field
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, DataError, nearest


def setting(default: Any, text: str) -> Any:
    """A field of a configuration: its default, copied where it can be changed, and its meaning, which `g2rpo fields` prints."""
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class TraceFields:
    """Where trace and answer of a row are, and how a completion is written around the trace: fields of a recipe's data, which
    the config of the guided trainer has, too."""

    guidance_trace_column: str = setting("trace", "Column that holds the reasoning trace.")
    guidance_answer_column: str = setting("answer", "Column that holds the final answer; the leak guard needs it.")
    guidance_style: str = setting(
        "think_answer", "How a completion is written around the trace: think_answer, think_boxed, boxed, gsm8k."
    )
    guidance_leak_guard: str = setting("strict", "Where a prefix must end at the latest: strict, conclusion or off.")


@dataclass(frozen=True)
class Style:
    """Text around the trace and around the answer."""

    before_trace: str
    between: str
    after_answer: str

    def opened_by(self, prompt_tail: str) -> "Style":
        """The same style for a prompt that already ends with the opening tag (DeepSeek templates do)."""
        tag = self.before_trace.strip()
        if tag and prompt_tail.rstrip().endswith(tag):
            # What the template wrote after the tag must not be written again.
            gap = prompt_tail[prompt_tail.rindex(tag) + len(tag) :]
            after_tag = self.before_trace[self.before_trace.index(tag) + len(tag) :]
            return Style(after_tag.removeprefix(gap), self.between, self.after_answer)
        return self


STYLES = {
    "think_answer": Style("<think>\n", "\n</think>\n<answer>", "</answer>"),
    "think_boxed": Style("<think>\n", "\n</think>\n\\boxed{", "}"),
    "boxed": Style("", "\nThe answer is \\boxed{", "}."),
    "gsm8k": Style("", "\n#### ", ""),
}
"""`think_answer` is the paper's; `boxed` and `gsm8k` fit models without think tags."""


def style(name: str) -> Style:
    if name not in STYLES:
        raise ConfigError("guidance_style", name, expected="a known completion style", then=nearest(name, list(STYLES)))
    return STYLES[name]


def full_completion(problem: Problem, style: Style) -> str:
    """Trace and answer as the model should write them; without the end-of-turn token, which is appended as an id.

    A program (`solution` of the problem's tests) stands as a fenced block where an answer would: there the code reward finds it.

    Raises:
        DataError: neither an answer nor a solution: there is nothing to write after the trace.
    """
    answer = problem.answer if problem.trace_answer is None else problem.trace_answer
    if problem.answer is None:
        solution = problem.trace_answer or (problem.tests or {}).get("solution")
        if solution is None:
            raise DataError(
                f"answer of {problem.key}",
                None,
                expected="an answer, or a `solution` in its tests",
                then="Fill it or drop the row: without one, nothing can be learned from its completion.",
            )
        answer = f"\n```python\n{solution.strip()}\n```\n"
    return style.before_trace + (problem.trace or "") + style.between + str(answer) + style.after_answer
