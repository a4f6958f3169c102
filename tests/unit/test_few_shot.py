"""Worked examples in front of a problem: turns of a conversation, or text; never the problem itself."""

import pytest

from g2rpo.data.completion import STYLES
from g2rpo.data.problem import Problem
from g2rpo.data.prompt_forms import with_examples
from g2rpo.errors import ConfigError
from g2rpo.training.run.recipe import resolve

CHAT = [
    Problem(f"k{i}", [{"role": "system", "content": "S"}, {"role": "user", "content": f"Q{i}"}], answer=str(i), trace=f"T{i}")
    for i in range(5)
]
PLAIN = [Problem(f"k{i}", f"Q{i}", answer=str(i), trace=f"T{i}") for i in range(5)]


def test_a_conversation_gets_turns_after_the_system_message():
    for problem, shown in zip(CHAT, with_examples(CHAT, CHAT, 2, STYLES["gsm8k"]), strict=True):
        roles = [m["role"] for m in shown.prompt]
        assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
        assert shown.prompt[-1] == problem.prompt[-1]
        questions = [m["content"] for m in shown.prompt if m["role"] == "user"]
        assert len(set(questions)) == 3  # two different ones, and itself once, at the end
        for question, answer in zip(questions[:2], (m["content"] for m in shown.prompt if m["role"] == "assistant"), strict=True):
            assert answer == f"T{question[1:]}\n#### {question[1:]}"


def test_a_plain_prompt_gets_text():
    [shown] = with_examples(PLAIN[:1], PLAIN, 1, STYLES["gsm8k"])
    example, own = shown.prompt.split("\n\n")
    assert own == "Q0"
    assert example[:2] != "Q0"
    assert example == f"{example[:2]}\nT{example[1]}\n#### {example[1]}"


def test_the_same_problem_has_the_same_examples_everywhere():
    alone = with_examples(CHAT[2:3], CHAT, 2, STYLES["boxed"])
    assert alone == with_examples(CHAT, CHAT, 2, STYLES["boxed"])[2:3]


@pytest.mark.parametrize("count", [5, 9])
def test_more_examples_than_there_are_is_refused(count):
    with pytest.raises(ConfigError, match=f"few_shot is {count}. Expected fewer than the 5 training problems"):
        with_examples(CHAT, CHAT, count, STYLES["gsm8k"])


def test_a_recipe_shows_training_problems_to_test_problems():
    data = resolve({"use_cpu": True, "task": "chains", "task_size": 20, "task_steps": [2], "few_shot": 2}).data
    train = {p.prompt[-1]["content"] for p in data.problems()}
    for problem in data.problems("test"):
        shown = [m["content"] for m in problem.prompt if m["role"] == "user"]
        assert len(shown) == 3
        assert set(shown[:2]) <= train
