"""Data that disappoints: every kind is named with its count and first rows, by the check and by training in the same words."""

import json

import pytest
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.data.disappointments import answer_type, disappointments, language
from g2rpo.data.load import load_problems
from g2rpo.data.problem import Problem
from g2rpo.errors import DataError
from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.train import train

ENGLISH = "How many eggs are there in the basket of the farmer, if we know that it is full?"
CHINESE = "我们先把三和四相加得到七然后再乘以二所以答案是十四"
GERMAN = "Wir addieren die drei und die vier, und das ist nicht mehr als die sieben mit der eins."


def ask(number, answer="18", question=None, trace="16-3=13\n13+5=18"):
    return Problem(f"k{number}", [{"role": "user", "content": question or f"question {number}"}], answer, trace)


CASES = {
    "answer is a whole solution": [ask(0), ask(1, "She sells 9 eggs. She then has 9 dollars left in the end."), ask(2)],
    "answers of mixed types": [ask(0), ask(1, "B"), ask(2, "3.5")],
    "same question, different answers": [ask(0, question="Q"), ask(1, "19", question="Q"), ask(2)],
    "trace in another language": [ask(0), ask(1, question=ENGLISH, trace=CHINESE), ask(2, question=ENGLISH)],
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_named_with_count_and_rows(kind):
    [found] = disappointments(CASES[kind])
    assert str(found).startswith(f"{kind}: 1 of 3 problems, row 2 (counted from 1). ")


def test_a_trace_longer_than_the_budget_and_nothing_where_nothing_is():
    problems = [ask(0), ask(1, trace="x" * 100), ask(2, "yes"), ask(3, "x^2"), ask(4, "18.0", question="question 0")]
    assert disappointments(problems) == []
    [found] = disappointments(problems, tokens=lambda p: len(p.trace), budget=50)
    assert (found.kind, found.rows) == ("trace longer than the budget", (1,))


def test_many_rows_are_counted_and_the_first_shown():
    problems = [ask(i, question=ENGLISH, trace=GERMAN) for i in range(9)]
    assert "9 of 9 problems, rows 1, 2, 3, 4, 5, … (counted from 1). Question and trace differ (traces in German)" in str(
        disappointments(problems)[0]
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [(ENGLISH, "English"), (GERMAN, "German"), (CHINESE, "Chinese"), ("2+3=5", None), (r"\frac{1}{2} $x$", None), ("", None)],
)
def test_languages(text, name):
    assert language(text) == name


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("18", "number"),
        ("$5", "number"),
        ("B", "choice"),
        ("(c)", "choice"),
        ("Paris", "words"),
        ("no solution", "words"),
        ("x^2+1", "formula"),
        ("2, 3", "formula"),
    ],
)
def test_types_of_answers(answer, kind):
    assert answer_type(answer) == kind


def write(path, problems):
    rows = [{"question": p.prompt[0]["content"], "final": p.answer, "solution": p.trace} for p in problems]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


COLUMNS = {"prompt": "question", "answer": "final", "trace": "solution"}


def test_the_check_prints_them(tmp_path):
    everything = [problem for problems in CASES.values() for problem in problems]
    file = write(tmp_path / "mine.jsonl", everything)
    done = CliRunner().invoke(
        app, ["data", "check", str(file), "--columns", "prompt=question,answer=final,trace=solution", "--max-tokens", "30"]
    )
    assert done.exit_code == 1
    for kind in (*CASES, "trace longer than the budget"):
        assert f"  {kind}: " in done.output
    assert "the traces contain their answer" in done.output


def test_training_refuses_and_warns_in_the_same_words(tmp_path, caplog):
    def recipe(problems, **fields):
        return resolve(
            {
                "dataset_path": str(write(tmp_path / "train.jsonl", problems)),
                "columns": COLUMNS,
                "output_dir": str(tmp_path / "run"),
                "use_cpu": True,
                "bf16": False,
                "report_to": "none",
                "num_generations": 4,
                "per_device_train_batch_size": 4,
                "max_completion_length": 64,
                **fields,
            }
        )

    with pytest.raises(DataError, match=r"a whole solution, and it marks no answer"):
        train(recipe(CASES["answer is a whole solution"]), quiet=True)
    with pytest.raises(DataError, match=r"same question, different answers: 1 of 3 problems, row 2 \(counted from 1\)"):
        train(recipe(CASES["same question, different answers"]), quiet=True)
    load_problems(path=str(tmp_path / "train.jsonl"), columns=COLUMNS, duplicates="drop")
    assert "same question, different answers: 1 of 3 problems, row 2 (counted from 1). The first of each is kept" in caplog.text
