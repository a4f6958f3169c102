r"""The whole grader: labelled pairs, gold answers, GSM8K, and the reward around it."""

import json
import pickle
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rlvr_graders.cli.grade_math import grade_math_file
from rlvr_graders.errors import DataError, SandboxError
from rlvr_graders.grades import Grade
from rlvr_graders.math import MathReward, grade_math, math_accuracy, parse_gold, worker
from rlvr_graders.math.grade import is_solution

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize(
    "name",
    ["math_pairs", "math_pairs_held_out", "math_pairs_third", "math_pairs_fourth", "math_pairs_fifth", "math_pairs_realistic"],
)
def test_labelled_pairs(name):
    pairs = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(pairs) >= 80
    wrong = [
        (pair["gold"], pair["answer"], grade)
        for pair in pairs
        if (pair["gold"], pair["answer"]) not in KNOWN_WRONG
        and (grade := grade_math(pair["gold"], "\\boxed{" + pair["answer"] + "}", deadline_s=30.0)).score != float(pair["equal"])
    ]
    assert wrong == []


def test_labelled_completions():
    """Announcements and mark-up as models write them, and near misses that only look like an answer."""
    pairs = [json.loads(line) for line in (DATA / "math_completions.jsonl").read_text(encoding="utf-8").splitlines()]
    wrong = [pair for pair in pairs if grade_math(pair["gold"], pair["completion"]).score != float(pair["equal"])]
    assert wrong == []
    assert len(pairs) >= 200
    assert sum(not pair["equal"] for pair in pairs) >= len(pairs) / 2


KNOWN_WRONG = {
    ("1:2", r"\frac12"),  # a ratio is compared as text, for 2:20 may be a time
    ("3:00 PM", "15:00"),
    (r"\overline{3+4i}", "3-4i"),
    (r"\operatorname{Re}(3+4i)", "3"),
    (r"2\operatorname{cis}\frac{\pi}{2}", "2i"),
    (r"3^{100}\bmod 7", "4"),
    (r"30^\circ 30'", r"30.5^\circ"),
    (r"120^\circ", r"\frac{2\pi}{3}\text{ radians}"),
    ("|x|<2", "(-2,2)"),
    (r"1\text{ L}", r"1000\text{ cm}^3"),
    (r"\begin{bmatrix}1&0\\0&1\end{bmatrix}", "[[1,0],[0,1]]"),
    ("2:3", "2 to 3"),
    ("0.1_2", "0.5"),
    ("5 ft 3 in", "5'3\""),
}
"""What the grader does not know: equal, but told to be different, or refused as a gold answer. Never the other way round."""

atoms = st.sampled_from(["2", "7", r"\pi", "e", r"\sqrt{5}", r"\frac{3}{4}", r"\ln 3"])
closed = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", r"\cdot "]), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        inner.map(lambda a: rf"\sqrt{{({a})^2+1}}"),
        st.tuples(inner, inner).map(lambda t: rf"\frac{{{t[0]}}}{{({t[1]})^2+1}}"),
    ),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None)
@given(closed, closed, st.integers(5, 80))
def test_a_rewritten_number_is_equal_and_one_moved_by_a_hair_is_not(number, detour, places):
    assert grade_math(number, rf"\boxed{{({detour})+{number}-({detour})}}").score == 1.0
    assert grade_math(number, rf"\boxed{{{number}+10^{{-{places}}}}}").score == 0.0


def test_equality_is_symmetric_on_the_labelled_pairs():
    """Except for choices and words around a value, which only the gold answer can ask for."""
    pairs = [json.loads(line) for line in (DATA / "math_pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    for pair in pairs:
        if pair["kind"] in ("text", "malformed") or not pair["answer"]:
            continue
        assert grade_math(pair["answer"], "\\boxed{" + pair["gold"] + "}").score == float(pair["equal"]), pair


@pytest.mark.parametrize(
    ("gold", "answer", "equal"),
    [
        ("1/12", "0.0833333333333333", True),
        ("1/12", "0.083", False),
        (r"\sqrt{2}", "1.4142135623730951", True),
        (r"\sqrt{2}", "1.41421356237310", False),
        (r"\pi", "3.141592653589793", True),
        (r"\pi", "3.14159265358979", False),
        (r"\pi", "3.14", False),
        (r"\sqrt{2}", "1.4142135623730950", False),
        (r"x\sqrt{2}", "1.4142135623730951", False),
        (r"(\frac13, 2)", "(0.3333333333333333, 2)", True),
        (r"\sqrt{-2}", "1.4142135623730951", False),
        (r"\frac{1}{3}\text{ m}", "0.333333333333333", True),
    ],
)
def test_decimals_stand_for_what_a_double_shows(gold, answer, equal):
    assert grade_math(gold, f"\\boxed{{{answer}}}").score == float(equal)
    assert grade_math(answer, f"\\boxed{{{gold}}}").score == float(equal)


def test_a_grade_has_a_score_and_a_reason():
    assert isinstance(grade_math("5", "\\boxed{5}"), Grade)
    cases = [
        ("5", "\\boxed{5.0}", 1.0, "equal"),
        ("5", "\\boxed{6}", 0.0, "different"),
        ("5", "5", 0.0, "no_answer"),
        ("\\frac{1}{", "\\boxed{5}", None, "bad_gold"),
    ]
    for gold, completion, score, reason in cases:
        grade = grade_math(gold, completion)
        assert (grade.score, grade.reason) == (score, reason)


@pytest.mark.parametrize(
    "text", ["", "   ", r"\frac{1}{", "1//2", "7 7", "3 +", "x" * 3_000, "{", "((", r"\undefined{3}", r"\boxed{}", "#### ", "$"]
)
def test_a_gold_answer_that_cannot_be_read_is_an_error(text):
    with pytest.raises(DataError, match="gold answer"):
        parse_gold(text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She sells 9 eggs.\n#### 18", "18"),
        (r"Thus \boxed{\frac12}.", r"\frac12"),
        ("<answer>3</answer>", "3"),
        ("Monday", "Monday"),
        ("10:30", "10:30"),
        (r"\int_0^1 x\,dx", r"\int_0^1 x\,dx"),
        ("B", "B"),
    ],
)
def test_a_gold_answer_may_be_a_solution(text, answer):
    assert parse_gold(text).text == answer


SOLUTIONS = [
    "Natalia sold 48/2 = 24 clips in May. Natalia sold 48+24 = 72 clips altogether.",
    "We add 16 and 3, and from the sum we take 4 away\nso that in the end 15 of them are left",
    "16-3=13\n13+5=18",
    "First, let $x$ be the number of eggs that Janet sells every single day, and $y$ the number of the eggs that her ducks lay in one single week",
    "The ducks lay 16 eggs.\nShe eats 3.\nShe sells 13.",
]


@pytest.mark.parametrize("text", SOLUTIONS)
def test_a_gold_that_is_a_whole_solution_without_a_marked_answer_is_refused_at_once(text, monkeypatch):
    monkeypatch.setattr(worker, "ask", lambda request, deadline_s: pytest.fail("the worker was asked"))
    with pytest.raises(DataError, match="a whole solution, and it marks no answer"):
        parse_gold(text)
    for _ in range(3):
        assert grade_math(text, "\\boxed{72}").reason == "bad_gold"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She sells 48/2 = 24 clips. The answer is 24.", "24"),
        ("16-3=13\n13+5=18\n#### 18", "18"),
        ("Answer: 24", "24"),
        ("**24**", "24"),
        ("We add. Then we see:\n\n**Final Answer:** 24", "24"),
    ],
)
def test_a_solution_that_states_its_answer_is_a_gold(text, answer):
    assert grade_math(text, f"\\boxed{{{answer}}}").score == 1
    assert grade_math(text, "\\boxed{25}").score == 0


@pytest.mark.parametrize(
    "text",
    [
        "x = 2 or x = 3, where k is an integer",
        "\\text{the function is increasing on the whole real line}",
        "no solution",
        "Dr. Smith",
        "St. Louis, Missouri",
        "\\begin{pmatrix}1 & 2\\\\\n3 & 4\\end{pmatrix}",
        "x=1\ny",
        "A. 12",
        "3.5 m. per s.",
        "all integers n such that n is divisible by 4",
    ],
)
def test_a_long_answer_is_no_solution(text):
    assert not is_solution(text)


def test_every_gsm8k_reference_solution_is_right_and_no_neighbour_is(data_folder):
    rows = [
        json.loads(line)["answer"]
        for name in ("train", "test")
        for line in (data_folder / "gsm8k" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    golds = [row.split("####")[-1].strip() for row in rows]
    assert Counter(grade_math(g, row).reason for g, row in zip(golds, rows, strict=True)) == {"equal": 8792}
    for gold, other in pairwise(golds):
        right = gold.replace(",", "") == other.replace(",", "")
        assert grade_math(gold, f"<think>x</think><answer>{other}</answer>").score == float(right)


def test_the_reward_speaks_trls_signature():
    reward = MathReward()
    conversation = [{"role": "assistant", "content": "\\boxed{5}"}]
    logged = {}
    scores = reward(
        completions=[conversation, "\\boxed{6}", "five", "\\boxed{1}"],
        answer=["5", "5", "5", "\\frac{"],
        prompts=["p"] * 4,
        completion_ids=[[1]] * 4,
        trainer_state=None,
        log_extra=None,
        log_metric=lambda name, value: logged.update({name: value}),
    )
    assert scores == [1.0, 0.0, 0.0, None]
    assert reward.counts == {"equal": 1, "different": 1, "no_answer": 1, "bad_gold": 1}
    assert logged["math/no_answer"] == 0.25
    assert reward.__name__ == math_accuracy.__name__ == "accuracy_reward"
    assert reward.drives_guidance
    assert math_accuracy([conversation], ["5"]) == [1.0]


def test_the_reward_survives_pickling():
    copy = pickle.loads(pickle.dumps(MathReward(deadline_s=2.0)))
    assert copy.deadline_s == 2.0
    assert copy(["\\boxed{5}"], ["5"]) == [1.0]


def test_a_worker_that_fails_leaves_the_completion_unscored(monkeypatch):
    def broken(request, deadline_s):
        raise worker.WorkerFailed("no memory")

    monkeypatch.setattr(worker, "ask", broken)
    grade = grade_math(r"\sqrt{2}", r"\boxed{\sqrt{8}/2}")
    assert (grade.score, grade.reason, grade.detail) == (None, "worker_failed", "no memory")
    reward = MathReward()
    assert reward([r"\boxed{\sqrt{8}/2}"] * 40, [r"\sqrt{2}"] * 40) == [None] * 40
    with pytest.raises(SandboxError, match="could not be graded"):
        reward([r"\boxed{\sqrt{8}/2}"] * 40, [r"\sqrt{2}"] * 40)


def test_a_worker_that_is_late_costs_the_answer_its_score(monkeypatch):
    def late(request, deadline_s):
        raise worker.WorkerTimeout

    monkeypatch.setattr(worker, "ask", late)
    grade = grade_math(r"\sqrt{2}", r"\boxed{\sqrt{8}/2}")
    assert (grade.score, grade.reason) == (0.0, "timeout")


def test_grade_math_reads_and_writes_lines(tmp_path):
    rows = [
        {"id": 1, "gold": "5", "completion": "\\boxed{5}"},
        {"id": "b", "gold": "5", "completion": "\\boxed{4}"},
        {"id": 3, "gold": 5, "completion": "none"},
        {"id": 4, "gold": "\\frac{", "completion": "\\boxed{4}"},
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    assert grade_math_file(source, target) == {"equal": 1, "different": 1, "no_answer": 1, "bad_gold": 1}
    out = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(row["id"], row["verdict"], row["score"]) for row in out] == [
        (1, "equal", 1.0),
        ("b", "different", 0.0),
        (3, "no_answer", 0.0),
        (4, "bad_gold", None),
    ]
    assert all(set(row) == {"id", "verdict", "score", "reason"} for row in out)


@pytest.mark.parametrize("line", ["{", "[1]", '"x"', '{"id": 1, "gold": "5"}', '{"id": 1, "gold": "5", "completion": 7}'])
def test_grade_math_names_the_line_that_is_wrong(tmp_path, line):
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 0, "gold": "5", "completion": ""}\n' + line + "\n")
    with pytest.raises(DataError, match=r"(?i)line 2"):
        grade_math_file(source, tmp_path / "out.jsonl")
