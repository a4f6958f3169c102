"""What the columns of each known data set become."""

import pytest

from g2rpo.data.sources import generic, gsm8k, openr1, reader, s1k
from g2rpo.errors import DataError

USER = "user"


def question(problem):
    assert [m["role"] for m in problem.prompt] == [USER]
    return problem.prompt[0]["content"]


# --- GSM8K


def test_gsm8k_steps_become_the_trace_and_the_marked_number_the_answer():
    row = {"question": " How many? ", "answer": "Half is 48/2 = <<48/2=24>>24.\nTogether <<1000+24=1024>>1024.\n#### 1,024"}
    problem = reader(list(row), None)(row)
    assert question(problem) == "How many?"
    assert problem.answer == "1024"
    assert problem.trace == "Half is 48/2 = 24.\nTogether 1024."
    assert (problem.key, problem.source, problem.difficulty) == ("gsm8k:How many?", "gsm8k", 2.0)


def test_gsm8k_negative_and_decimal_answers_stay_as_they_are():
    assert gsm8k.problem({"question": "q", "answer": "a\n#### -3.5"}).answer == "-3.5"


def test_gsm8k_without_the_mark_is_an_error_that_shows_the_row():
    with pytest.raises(
        DataError, match=r"column 'answer' is 'just 5'\. Expected worked steps that end in '#### number'.*columns"
    ):
        gsm8k.problem({"question": "q", "answer": "just 5"})


@pytest.mark.parametrize("row", [{"question": "q", "answer": None}, {"question": None, "answer": "a #### 1"}])
def test_gsm8k_missing_cells_are_data_errors(row):
    with pytest.raises(DataError):
        gsm8k.problem(row)


# --- OpenR1


def openr1_row(**changes):
    return {"problem": "What?", "answer": " 4 ", "solution": "2+2=4", "source": "olympiads", "uuid": "u1", **changes}


def test_openr1_takes_the_shortest_complete_and_correct_generation():
    row = openr1_row(
        generations=[
            "<think>\nshort\n</think> 5",
            "<think>unfinished",
            "<think>a longer one</think>",
            "<think>the longest one</think>",
        ],
        is_reasoning_complete=[True, False, True, True],
        correctness_math_verify=[False, True, True, True],
    )
    problem = reader(list(row), None)(row)
    assert question(problem) == "What?"
    assert (problem.answer, problem.trace, problem.key) == ("4", "a longer one", "openr1:u1")
    assert (problem.source, problem.difficulty) == ("olympiads", 3.0)


def test_openr1_generations_may_be_one_string():
    assert openr1.problem(openr1_row(generations="<think>all of it</think>4")).trace == "all of it"


def test_openr1_falls_back_on_the_written_solution():
    wrong = openr1_row(generations=["<think>bad</think>"], is_reasoning_complete=[True], correctness_math_verify=[False])
    assert openr1.problem(wrong).trace == "2+2=4"
    assert openr1.problem(openr1_row(generations=None)).trace == "2+2=4"
    assert openr1.problem(openr1_row(generations=["<think></think>4", ""])).trace == "2+2=4"
    assert openr1.problem(openr1_row(generations=[], solution=None)).trace is None


def test_openr1_without_verdicts_trusts_every_generation():
    assert openr1.problem(openr1_row(generations=["<think>bb</think>", "<think>a</think>"])).trace == "a"


def test_openr1_tiers_are_the_papers_curriculum():
    assert [openr1.problem(openr1_row(source=s)).difficulty for s in openr1.TIERS] == [0, 1, 2, 3, 4]
    assert openr1.problem(openr1_row(source="elsewhere")).difficulty is None


def test_openr1_answers_may_be_missing_or_numbers():
    assert openr1.problem(openr1_row(answer=None)).answer is None
    assert openr1.problem(openr1_row(answer=4)).answer == "4"


# --- s1K


def s1k_row(solution):
    return {"question": "Why?", "solution": solution, "deepseek_thinking_trajectory": "hmm, so", "source_type": "physics"}


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("42", "42"),
        ("First \\boxed{1}, then \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{unbalanced", None),
        ("prose " * 30, None),
        ("", None),
        (None, None),
    ],
)
def test_s1k_answers_are_boxed_or_short(solution, answer):
    row = s1k_row(solution)
    problem = reader(list(row), None)(row)
    assert problem.answer == answer
    assert (question(problem), problem.source) == ("Why?", "physics")
    # Without an answer nothing could keep the trace from giving it away.
    assert problem.trace == (None if answer is None else "hmm, so")


def test_s1k_traces_that_were_graded_as_wrong_are_not_used():
    assert s1k.problem({**s1k_row("42"), "deepseek_grade": "No"}).trace is None
    assert s1k.problem({**s1k_row("42"), "deepseek_grade": "Yes"}).trace == "hmm, so"


def test_s1k_prose_is_replaced_by_the_box_of_an_attempt_graded_as_right():
    prose = {**s1k_row("prose " * 30), "deepseek_attempt": "so \\boxed{7}"}
    assert s1k.problem({**prose, "deepseek_grade": "Yes"}).answer == "7"
    assert s1k.problem({**prose, "deepseek_grade": "No"}).answer is None
    assert s1k.problem(prose).answer is None


# --- which source


def test_sources_are_told_apart_by_their_columns():
    assert openr1.matches(["problem", "answer", "generations"])
    assert openr1.matches(["problem", "answer", "solution", "other"])
    assert not openr1.matches(["problem", "answer"])
    assert s1k.matches(["question", "solution", "deepseek_thinking_trajectory", "gemini"])
    assert gsm8k.matches(["question", "answer"])
    assert not gsm8k.matches(["question", "answer", "solution"])
    assert not gsm8k.matches(["question", "answer", "trace"])


# --- anything else


def test_mapped_columns_win_over_recognition():
    row = {"question": "q", "answer": "text #### 4", "worked": "<think>w</think>", "final": 4}
    read = reader(list(row), {"prompt": "question", "answer": "final", "trace": "worked"})
    problem = read(row)
    assert (question(problem), problem.answer, problem.trace) == ("q", "4", "w")


def test_role_named_columns_need_no_mapping_and_a_plain_prompt_stays_plain():
    row = {
        "prompt": "Q: 2+2?",
        "answer": "4",
        "trace": "2+2=4",
        "key": 7,
        "difficulty": "2.5",
        "source": None,
        "tests": '{"a": [1]}',
    }
    problem = reader(list(row), None)(row)
    assert (problem.prompt, problem.answer, problem.trace) == ("Q: 2+2?", "4", "2+2=4")
    assert (problem.key, problem.difficulty, problem.source, problem.tests) == ("7", 2.5, "", {"a": [1]})


def test_without_a_key_column_the_prompt_is_the_key():
    read = generic.mapped(["prompt"], {})
    conversation = [{"role": "user", "content": "q"}]
    assert read({"prompt": conversation}).key == read({"prompt": [{"content": "q", "role": "user"}]}).key
    assert read({"prompt": conversation}).key != read({"prompt": "q"}).key


def test_only_the_prompt_is_required():
    problem = generic.mapped(["prompt"], {})({"prompt": "q"})
    assert (problem.answer, problem.trace, problem.tests) == (None, None, None)


@pytest.mark.parametrize(
    ("columns", "mapping", "message"),
    [
        (
            ["question"],
            {},
            r"column 'prompt' for the prompt\. Expected it among the columns question.*columns: \{prompt: question",
        ),
        (["prompt"], {"trace": "work"}, r"column 'work' for the trace\. Expected it among the columns prompt"),
        (["prompt"], {"answr": "prompt"}, r"columns is 'answr'.*Did you mean 'answer'"),
    ],
)
def test_columns_that_are_not_there_are_named(columns, mapping, message):
    with pytest.raises(DataError, match=message):
        generic.mapped(columns, mapping)


@pytest.mark.parametrize("prompt", [None, "", []])
def test_an_empty_prompt_is_an_error(prompt):
    with pytest.raises(DataError, match=r"column 'prompt' is .*Expected a question or a conversation. Fill it or drop the row"):
        generic.mapped(["prompt"], {})({"prompt": prompt})


@pytest.mark.parametrize("cell", [{"difficulty": "hard"}, {"tests": "{not json"}])
def test_cells_that_do_not_parse_are_data_errors(cell):
    with pytest.raises(DataError):
        generic.mapped(["prompt", *cell], {})({"prompt": "q", **cell})
