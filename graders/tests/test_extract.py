r"""Which part of a completion is its answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rlvr_graders.extract import MAX_COMPLETION_CHARS, choice_letter, completion_text, extract_answer, last_boxed


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{4}, no, \boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{5} and \boxed{6", "5"),
        (r"\boxed 8 is it", "8"),
        (r"\fbox{9}", "9"),
        ("<answer> 5 </answer>", "5"),
        ("<answer>4</answer> <answer>5</answer>", "5"),
        ("<answer>4</answer> <answer>5", "4"),
        (r"<answer>\boxed{3}</answer>", "3"),
        (r"<answer>The answer is 12.</answer>", "12"),
        (r"<answer>4</answer> so \boxed{5}", "5"),
        (r"\boxed{5} so <answer>4</answer>", "4"),
        ("work\n#### 18", "18"),
        ("#### 17\n#### 18\n", "18"),
        ("#### 18\n\nI hope that helps.", "18"),
        ("#### **18**\nDone.", "18"),
        ("So \\boxed{42}.\n\n#### Verification\n\nChecks out.", "42"),
        ("#### 1. Set up\n\n2x = 84\n\nThe answer is 42.", "42"),
        (r"\boxed{42}\boxed{}", "42"),
        ("The answer is 42, not 41.", "42"),
        ("The answer is 3.5. Thanks.", "3.5"),
        ("the final answer is: $12$", "$12$"),
        ("**Answer:** 42", "42"),
        ("Answer: (B)", "(B)"),
        ("The answer is 7", "7"),
        ("The answer is 5, because 2+3=5.", "5"),
        ("<think>\\boxed{1}</think> \\boxed{2}", "2"),
        ("\\boxed{1}</think> the answer is 2", "2"),
        ("<think>a</think> \\boxed{1} <think>b</think> \\boxed{2}", "2"),
    ],
)
def test_the_last_explicit_statement_is_the_answer(completion, answer):
    assert extract_answer(completion).text == answer


@pytest.mark.parametrize(
    "completion",
    [
        "Answer\n42",
        "",
        "five",
        "it is 5 or so",
        r"\boxed{5",
        "<answer>5",
        "<answer></answer>",
        "<think>\\boxed{5}",
        r"\boxed{}",
        "<think>a</think> and now",
        "\\boxed{5}</think>",
        "####",
        "<think> x </think> <think> \\boxed{5}",
    ],
)
def test_what_is_not_stated_is_not_guessed(completion):
    assert extract_answer(completion) is None


def test_only_the_end_of_a_huge_completion_is_searched():
    assert extract_answer("\\boxed{1}" + "x" * MAX_COMPLETION_CHARS) is None
    assert extract_answer("x" * MAX_COMPLETION_CHARS + "\\boxed{1}").text == "1"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        ("B)", "B"),
        ("[c]", "C"),
        ("Option D", "D"),
        ("B) 42 apples", "B"),
        ("(B) 42", "B"),
        ("B: 42", "B"),
        ("(B) is wrong", None),
        ("B. C", None),
        ("A or B", None),
        ("A) or B)", None),
        ("AB", None),
        ("42", None),
        ("K", None),
        ("", None),
    ],
)
def test_a_choice_is_one_letter(answer, letter):
    assert choice_letter(answer) == letter


def test_both_shapes_of_completion_give_their_text():
    assert completion_text("a") == "a"
    assert completion_text([{"role": "assistant", "content": "a"}]) == "a"
    assert completion_text([{"role": "assistant", "content": [{"type": "text", "text": "a"}]}]) == "a"
    # After a tool call the last assistant message speaks.
    messages = [{"role": "assistant", "content": "call"}, {"role": "tool", "content": "5"}, {"role": "assistant", "content": "b"}]
    assert completion_text(messages) == "b"
    assert completion_text([]) == ""
    assert completion_text([{"role": "assistant", "content": None}]) == ""


@given(st.text(alphabet="\\boxed{}<>/answerthink# 5\n", max_size=200))
def test_nothing_raises(text):
    found = extract_answer(text)
    assert found is None or found.text


@given(st.text(alphabet=st.characters(exclude_characters="{}\\", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_box_gives_back_its_content(content):
    assert last_boxed("x \\boxed{" + content + "} y")[0] == content
