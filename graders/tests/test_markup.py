r"""Mark-up around answers: every kind in every place where an answer is announced, and formulas that only look like mark-up."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlvr_graders.exact import exact_match_reward
from rlvr_graders.extract import MAX_COMPLETION_CHARS, extract_answer
from rlvr_graders.markup import unmarked
from rlvr_graders.math import grade_math

MARKS = [
    "{}",
    "**{}**",
    "__{}__",
    "*{}*",
    "_{}_",
    "***{}***",
    "`{}`",
    "**`{}`**",
    "<b>{}</b>",
    "<strong>{}</strong>",
    "<em>{}</em>",
    '<span style="color: red">{}</span>',
    "<code>{}</code>",
    "✅ {}",
    "{} 🎉",
    "👉 **{}**",
    "“{}”",
    '"{}"',
    "{}&nbsp;",
    "~~1~~ {}",
    "\u200b{}",
    "**{}**.",
    "{},",
    "<u>**{}**</u>",
]
PLACES = [
    "Final Answer: {}",
    "Answer: {}",
    "**Answer:** {}",
    "### Answer: {}",
    "> Answer: {}",
    "- Answer: {}",
    "The answer is {}",
    "the final answer is: {}",
    "#### {}",
    "<answer>{}</answer>",
    "<answer>\n{}\n</answer>",
    "\\boxed{{{}}}",
    "## Final Answer\n\n{}",
    "**Answer**\n{}",
    "| Answer | {} |",
    "Answer：{}",
    "Answer:\n- {}",
    "<answer>The answer is {}</answer>",
    "#### Answer: {}",
    "Final Answer: The final answer is {}. I hope it is correct.",
]
ANSWERS = [
    ("73", "73"),
    ("-7.5", "-7.5"),
    ("1,234", "1234"),
    (r"$\frac{1}{2}$", "1/2"),
    ("７３", "73"),
    ("73 apples", "73"),
    ("x = 73", "73"),
]


@pytest.mark.parametrize("place", PLACES)
def test_every_mark_in_every_place(place):
    for mark in MARKS:
        for answer, gold in ANSWERS:
            completion = "We add the numbers.\n\n" + place.format(mark.format(answer))
            assert grade_math(gold, completion).score == 1, completion
            assert grade_math("74", completion).score == 0, completion


@pytest.mark.parametrize(
    "text",
    [
        "2**3",
        "2*3*4",
        "a_1 + b_1",
        "_{5}C_{2}",
        "|x|",
        "- 5",
        "x < 5",
        "a<b>c",
        "(a+b)*(c+d)*(e)",
        "1 *1/2*",
        "f'(x)",
        "5'",
        "sin**2(x) + cos**2(x)",
        "x > 5",
        "2 * 3",
        "\\{1, 2\\}",
        "a*b*c",
        "a & b",
        "x__1",
        "5!",
        "♠",
        "△ABC",
        "K♠",
        "#5",
        "-1",
    ],
)
def test_formulas_are_no_mark_up(text):
    assert unmarked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "**73**",
        "__73__",
        "<p>73</p>",
        "`73`",
        "７３",
        "𝟕𝟑",
        "7️⃣3️⃣",
        "### 73",
        "\n- 73\n",
        "\n> 73\n",
        "\n```text\n73\n```\n",
        "🏆 73",
    ],
)
def test_mark_up_goes(text):
    assert unmarked(text) == "73"


@given(st.text(alphabet='*_`~<>&|#-+ 1x\nbi/"“”✅。', max_size=60))
def test_nothing_is_added(text):
    assert len(unmarked(text)) <= len(text) + 12 * text.count("<")
    unmarked(unmarked(text))


def test_words_lose_their_marks_too():
    said = [
        "Final Answer: **Paris**",
        "The answer is _paris_.",
        "<answer><b>Paris</b></answer>",
        "### Answer\n\n`Paris`",
        "Answer: **London**",
    ]
    assert exact_match_reward(said, ["Paris"] * 5) == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "piece",
    [
        "**a",
        "*a ",
        "_a ",
        "~~",
        "<b>",
        "<p ",
        "&lt",
        "|",
        "| Answer |\n",
        "the answer is ",
        "Answer:\n",
        "\\text{",
        "\\text{answer",
        "####",
        "- \n",
        "✅",
        " ",
        "> ",
        "``",
        "answer: **",
        "$$\n",
        "\\boxed{",
        "`a",
        "ans",
        "#### answer\n",
        "“",
        "=>",
        "***",
        "**a:**",
        "\\(",
    ],
)
def test_hostile_mark_up_costs_no_more_than_its_size(piece):
    text = (piece * MAX_COMPLETION_CHARS)[:MAX_COMPLETION_CHARS]
    for whole in (text, "Answer: " + text + "x", text + "\nthe answer is 5 " + text[:50_000] + "x"):
        start = time.process_time()
        extract_answer(whole)
        assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    "said",
    [
        "答案是１２。",
        "答案：12",
        "所以，最终答案为 12。",
        "因此答案等于12",
        "**答案：** 12",
        "答案是：\n\n12",
        "答案是12，因为3×4=12。",
        "正确答案是 \\(12\\)。",
    ],
)
def test_an_answer_that_is_announced_in_chinese(said):
    assert grade_math("12", said).score == 1
    assert grade_math("13", said).score == 0


@pytest.mark.parametrize("said", ["答案不是12。", "答案是否为12？", "12是第一个答案", "这个答案有12个字"])
def test_chinese_that_announces_nothing(said):
    assert grade_math("12", said).score == 0
