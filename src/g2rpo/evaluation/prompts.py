"""From a problem to the ids that the model continues: its chat template, or the suite's plain text for models without one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, DataError, one_of
from g2rpo.evaluation.suite import PLACE, Suite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = Literal["chat", "plain"]


def template_of(tokenizer: "PreTrainedTokenizerBase", wanted: str = "auto") -> Template:
    """`chat` where the tokenizer has a chat template, else `plain`; or what is wanted.

    Raises:
        ConfigError: `chat` is wanted and there is none.
    """
    one_of("template", wanted, ("auto", "chat", "plain"))
    if wanted == "chat" and not tokenizer.chat_template:
        raise ConfigError(
            "template",
            "chat",
            expected="a tokenizer with a chat template; this one has none",
            then="Leave it out: the suite's plain text is used then. Or name a tokenizer that has one with --tokenizer.",
        )
    return "chat" if wanted == "chat" or (wanted == "auto" and tokenizer.chat_template) else "plain"


def prompt_ids(problem: Problem, tokenizer: "PreTrainedTokenizerBase", template_kwargs: Mapping[str, Any] | None = None) -> Any:
    """Token ids of a problem's prompt as training uses it: plain text as it is, a conversation through the chat template."""
    if isinstance(problem.prompt, str):
        return tokenizer(problem.prompt)["input_ids"]
    return rendered(tokenizer, problem.prompt, template_kwargs, then="Mend the conversations, or drop the system message.")


def rendered(
    tokenizer: "PreTrainedTokenizerBase",
    messages: list[Any],
    template_kwargs: Mapping[str, Any] | None,
    *,
    then: str,
    tokenize: bool = True,
) -> Any:
    """A conversation through the chat template, the assistant's turn begun.

    Raises:
        ConfigError: the template refuses the messages (some know no system message, for example); `then` says what to do.
    """
    options = {"add_generation_prompt": True, "return_dict": False, "tokenize": tokenize, **(template_kwargs or {})}
    try:
        return tokenizer.apply_chat_template(messages, **options)
    except Exception as error:  # Jinja and the template's own raise_exception: all mean that the messages do not fit it
        raise ConfigError(
            "chat template",
            f"{type(error).__name__}: {error}",
            expected=f"one that takes {[m.get('role') for m in messages]}",
            then=then,
        ) from error


def suite_prompt_ids(
    suite: Suite,
    problems: Sequence[Problem],
    tokenizer: "PreTrainedTokenizerBase",
    template: Template,
    template_kwargs: Mapping[str, Any] | None = None,
) -> list[list[int]]:
    """Token ids of each problem's prompt.

    Raises:
        ConfigError: the chat template refuses the messages (some know no system message, for example).
    """
    ids = []
    for problem in problems:
        if template == "plain":
            ids.append(tokenizer(suite.plain.replace(PLACE, problem_text(problem)))["input_ids"])
            continue
        messages = [{"role": "system", "content": suite.system}] if suite.system else []
        messages.append({"role": "user", "content": suite.chat.replace(PLACE, problem_text(problem))})
        ids.append(rendered(tokenizer, messages, template_kwargs, then="Drop the system message, or use --template plain."))
    return ids


def problem_text(problem: Problem) -> str:
    """What the problem asks: its text, or its only user message. System messages of a data set are training's, not
    evaluation's."""
    if isinstance(problem.prompt, str):
        return problem.prompt
    asked = [m["content"] for m in problem.prompt if m["role"] == "user"]
    if len(asked) != 1 or not isinstance(asked[0], str):
        raise DataError(
            f"prompt of {problem.key}",
            problem.prompt,
            expected="one user message of text",
            then="Evaluate it in a script of your own.",
        )
    return asked[0]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the first of the stop texts."""
    places = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(places)] if places else text
