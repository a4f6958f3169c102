"""From files to problems to the trainer's rows; and every wrong file as a sentence."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2rpo.data.files import open_rows
from g2rpo.data.load import load_problems, to_rows
from g2rpo.data.problem import Problem
from g2rpo.data.sources import SOURCES
from g2rpo.errors import DataError, rows_from_1

ROWS = [
    {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 4"},
    {"question": "Three and four?", "answer": "3+4=<<3+4=7>>7\n#### 7"},
    {"question": "Five and six?", "answer": "5+6=<<5+6=11>>11\n#### 11"},
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def write(path, rows):
    if path.name.endswith(".jsonl.gz"):
        with gzip.open(path, "wt") as file:
            file.write("".join(json.dumps(r) + "\n" for r in rows))
    elif path.suffix == ".jsonl":
        write_jsonl(path, rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.csv", "train.parquet", "train.jsonl.gz"])
def test_every_format_gives_the_same_problems(tmp_path, name):
    problems = load_problems(path=str(write(tmp_path / name, ROWS)))
    assert [p.answer for p in problems] == ["4", "7", "11"]
    assert [p.trace for p in problems] == ["2+2=4", "3+4=7", "5+6=11"]
    assert load_problems(path=str(tmp_path)) == problems  # the folder, by its split


def test_the_split_chooses_the_file_of_a_folder(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "test.jsonl", ROWS[2:])
    assert [p.answer for p in load_problems(path=str(tmp_path), split="test")] == ["11"]


def test_limit_keeps_the_first(tmp_path):
    path = str(write_jsonl(tmp_path / "train.jsonl", ROWS))
    assert [p.answer for p in load_problems(path=path, limit=2)] == ["4", "7"]
    assert load_problems(path=path, limit=0) == []


def test_system_prompt_and_instruction_go_around_the_question(tmp_path):
    path = str(write_jsonl(tmp_path / "train.jsonl", ROWS[:1]))
    problem = load_problems(path=path, system_prompt="Be kind.", instruction="Think first.")[0]
    assert problem.prompt == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Two and two?\nThink first."},
    ]
    assert problem.key == load_problems(path=path)[0].key


def test_an_instruction_needs_a_conversation(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "plain", "answer": "1"}])
    with pytest.raises(DataError, match=r"prompt is 'plain'. Expected a conversation.*Map the question's column"):
        load_problems(path=str(path), instruction="x")


def test_csv_answers_that_look_like_numbers_stay_whole(tmp_path):
    path = write(
        tmp_path / "a.csv", [{"prompt": "a", "answer": "4", "trace": "t"}, {"prompt": "b", "answer": "11", "trace": "u"}]
    )
    assert [p.answer for p in load_problems(path=str(path))] == ["4", "11"]


@pytest.mark.parametrize(("cells", "answers"), [(["4", ""], ["4"]), (["007", "11"], ["007", "11"])])
def test_csv_answers_are_read_as_text(tmp_path, cells, answers):
    path = write(tmp_path / "a.csv", [{"prompt": f"p{i}", "answer": c, "trace": "t"} for i, c in enumerate(cells)])
    assert [p.answer for p in load_problems(path=str(path))] == answers


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n"x, ""y""\nz", 2\n\n  \n007,4.0', [('x, "y"\nz', " 2"), ("007", "4.0")]),  # quoted cells, lines without cells
        ("\ufeffa,b\r\nNA,null\r\nnan,None\r\n,0\r\n Na,none\r\n", [(None, None), (None, None), (None, "0"), (" Na", "none")]),
        ("a,b\n1\n", [("1", None)]),
        (f"a,b\n{'x' * 200_000},1\n", [("x" * 200_000, "1")]),
        ("a,b\n", []),
    ],
    ids=["quotes", "missing", "short", "long", "none"],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_csv_cells(tmp_path, text, rows, ending):
    path = tmp_path / f"a.csv{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending else text.encode())
    found, columns = open_rows(None, str(path), None, "train")
    assert columns == ["a", "b"]
    assert [(row["a"], row["b"]) for row in found] == rows


def test_csv_columns_without_a_name_of_their_own(tmp_path):
    (tmp_path / "a.csv").write_text("a,,a,\n1,2,3,\n")
    found, columns = open_rows(None, str(tmp_path / "a.csv"), None, "train")
    assert columns == ["a", "Unnamed: 1", "a.1", "Unnamed: 3"]
    assert found == [dict(zip(columns, ("1", "2", "3", None), strict=True))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "ValueError: the file is empty"),
        (b"a,b\n1,2\n1,2,3\n", "ValueError: line 3: 3 cells, but 2 columns"),
        (b'a,b\n"1,2\n', "ValueError: line 2: unexpected end of data"),
        (b"a,b\n\xe4,2\n", "utf-8"),
    ],
    ids=["empty", "cells", "quote", "latin"],
)
def test_csv_that_cannot_be_read(tmp_path, text, words):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(DataError, match=r"a.csv'. Expected readable csv. ") as error:
        open_rows(None, str(tmp_path / "a.csv"), None, "train")
    assert words in str(error.value)
    assert "Save it as UTF-8, with commas between the cells" in str(error.value)


def test_a_file_without_rows_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,answer\n")
    with pytest.raises(DataError, match=r"number of rows in .*a.csv is 0. Expected at least one"):
        load_problems(path=str(tmp_path / "a.csv"))


# --- the trainer's rows


def test_rows_carry_what_the_trainer_needs():
    problem = Problem("k", [{"role": "user", "content": "q"}], "4", "2+2=4", difficulty=1.0, source="s")
    rows = to_rows([problem])
    assert set(rows.column_names) == {"key", "prompt", "answer", "trace", "difficulty", "source"}
    assert rows[0]["prompt"] == problem.prompt


def test_tests_travel_as_json():
    rows = to_rows([Problem("k", "q", trace="t", tests={"input": [[1, 2]], "mixed": [1, "a"]})])
    assert json.loads(rows[0]["tests"]) == {"input": [[1, 2]], "mixed": [1, "a"]}


def test_tests_of_a_later_problem_are_not_dropped():
    rows = to_rows([Problem("a", "q", trace="t"), Problem("b", "q", trace="t", tests={"x": 1})])
    assert [r.get("tests") for r in rows] == [None, '{"x": 1}']


# --- what is wrong, what was found, what was expected, the next move


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"dataset_path is '.*gone.jsonl'. Expected an existing file or folder. Check the path"):
        load_problems(path=str(tmp_path / "gone.jsonl"))


def test_a_file_of_unknown_kind(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    with pytest.raises(DataError, match=r"dataset_path is '.*a.xlsx'. Expected a file ending in .jsonl.*Convert it to JSONL"):
        load_problems(path=str(tmp_path / "a.xlsx"))


def test_a_folder_without_the_split_lists_what_it_holds(tmp_path):
    write_jsonl(tmp_path / "test.jsonl", ROWS)
    with pytest.raises(DataError, match=r"Expected a file train.jsonl .*The folder holds: test.jsonl. Set dataset_split"):
        load_problems(path=str(tmp_path))


def test_an_empty_folder_says_so(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="The folder holds: nothing"):
        load_problems(path=str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["", '{"question": "unclosed', "not json at all"])
def test_a_broken_file(tmp_path, text):
    (tmp_path / "train.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"file is '.*train.jsonl'. Expected readable json"):
        load_problems(path=str(tmp_path / "train.jsonl"))


@pytest.mark.parametrize("arguments", [{}, {"name": "a/b", "path": "c"}])
def test_name_or_path_but_not_both(arguments):
    with pytest.raises(DataError, match=r"Expected either dataset_name or dataset_path. Set exactly one of them"):
        load_problems(**arguments)


def test_a_hub_name_that_cannot_be_loaded_points_to_a_local_copy(monkeypatch):
    import datasets

    def offline(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=r"dataset_name is 'no/where'.*ConnectionError: no network. Offline, give a local copy"):
        load_problems(name="no/where")


def test_a_bad_row_is_named_by_its_number(tmp_path):
    path = write_jsonl(tmp_path / "train.jsonl", [*ROWS, {"question": "q", "answer": "no mark"}])
    with pytest.raises(
        DataError, match=r"row 4 .* of .*train.jsonl: column 'answer' is 'no mark'\. Expected worked steps"
    ) as caught:
        load_problems(path=str(path))
    assert "For data of another shape" in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([{"role": "user"}], r"content of message 1 in column 'prompt' is None. Expected text. Write messages like"),
        ([{"role": "user", "content": "q"}, {"content": "a"}], "role of message 2 in column 'prompt' is None"),
        ([{"role": "user", "content": ["q"]}], r"content of message 1 in column 'prompt' is \['q'\]"),
        ([{"role": "user", "content": 4}], "content of message 1 in column 'prompt' is 4"),
        (["q"], "role of message 1 in column 'prompt' is 'q'"),
        ([], r"column 'prompt' is \[\]. Expected a question or a conversation"),
        ({"role": "user", "content": "q"}, r"column 'prompt' is \{.*Expected a question or a conversation"),
    ],
)
def test_a_malformed_conversation_is_named(tmp_path, prompt, message):
    good = [[{"role": "user", "content": f"q{i}"}] for i in range(2)]
    rows = [{"prompt": p, "answer": "1", "trace": "t"} for p in (*good, prompt, prompt)]
    with pytest.raises(DataError, match=rf"row 3 \(counted from 1\) of .*a\.jsonl: {message}"):
        load_problems(path=str(write_jsonl(tmp_path / "a.jsonl", rows)))


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
@pytest.mark.parametrize("columns", [None, {"answer": "answer"}])
def test_an_answer_that_is_not_a_number_is_no_answer(tmp_path, answer, columns):
    rows = [{"prompt": f"p{i}", "answer": a, "trace": "t"} for i, a in enumerate((4.0, answer))]
    path = str(write_jsonl(tmp_path / "a.jsonl", rows))
    with pytest.raises(DataError, match=r"row 2 .*of .*: column 'answer' is (nan|inf). Expected the final answer. Fill the cell"):
        load_problems(path=path, columns=columns)


def test_an_empty_cell_of_numbers_saved_by_pandas(tmp_path):
    import pandas

    pandas.DataFrame({"prompt": ["a", "b"], "answer": [4.0, float("nan")]}).to_json(
        tmp_path / "a.jsonl", orient="records", lines=True
    )
    assert [p.answer for p in load_problems(path=str(tmp_path / "a.jsonl"))] == ["4.0"]  # null: left out, with a warning


def test_a_nan_in_a_source_of_its_own(tmp_path):
    row = {
        "problem": "q",
        "solution": "s",
        "answer": float("nan"),
        "generations": ["g"],
        "source": "x",
        "correctness_math_verify": [True],
    }
    with pytest.raises(DataError, match="answer is nan"):
        SOURCES["aime"].problem(row)


def test_a_saved_folder_without_the_split_lists_its_splits(tmp_path):
    import datasets

    table = datasets.Dataset.from_list([{"prompt": "p", "answer": "1"}])
    datasets.DatasetDict({"test": table, "dev": table}).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        DataError, match=r"dataset_split is 'train'. Expected one of the splits saved in .*: test, dev. Set dataset"
    ):
        load_problems(path=str(tmp_path / "saved"))


def test_a_bad_row_is_told_once(tmp_path):
    path = write_jsonl(tmp_path / "train.jsonl", [{"question": "q", "answer": "no mark"}])
    with pytest.raises(DataError) as caught:
        load_problems(path=str(path))
    assert str(caught.value).count("Expected worked steps") == 1


def test_columns_that_fit_no_source_are_listed(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"q": "1", "a": "2"}])
    with pytest.raises(DataError, match=r"column 'prompt' for the prompt. Expected it among the columns q, a"):
        load_problems(path=str(path))


def test_rows_are_counted_from_1_in_every_message(tmp_path):
    assert rows_from_1([0]) == "row 1 (counted from 1)"
    assert rows_from_1([0, 3]) == "rows 1 and 4 (counted from 1)"
    assert rows_from_1(range(9)) == "rows 1, 2, 3, 4, 5, … (counted from 1)"
    for name, text in (
        ("a.csv", "prompt,answer\nq,1\np,2\nq,3\n"),
        ("a.jsonl", '{"prompt": "q"}\n{"prompt": "p"}\n{"prompt": "q"}'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"in rows 1 and 3 \(counted from 1\)"):
            load_problems(path=str(tmp_path / name))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path, suffix):
    text = {
        "jsonl": '{"prompt": "q", "answer": "7"}\r\n{"prompt": "p", "answer": "8"}\r\n',
        "json": '[{"prompt": "q", "answer": "7"},\r\n {"prompt": "p", "answer": "8"}]',
        "csv": "prompt,answer\r\nq,7\r\np,8\r\n",
    }[suffix]
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(("\ufeff" + text).encode())
    assert [(p.prompt, p.answer) for p in load_problems(path=str(file))] == [("q", "7"), ("p", "8")]
    file.write_bytes(text.replace("q", "é").encode("latin-1"))
    with pytest.raises(DataError, match="Save it as UTF-8"):
        load_problems(path=str(file))


def test_an_answer_in_a_list_or_in_a_field(tmp_path):
    file = tmp_path / "a.jsonl"

    def answers(*cells, columns=None):
        file.write_text("".join(json.dumps({"prompt": f"q{i}", "answer": cell}) + "\n" for i, cell in enumerate(cells)))
        return [p.answer for p in load_problems(path=str(file), columns=columns)]

    assert answers(["2"], [3]) == ["2", "3"]
    with pytest.raises(DataError, match=r"row 2 .*column 'answer' is \['2', '3'\]. Expected one answer"):
        answers(["1"], ["2", "3"])
    with pytest.raises(DataError, match=r"Name a field of it \(columns: \{answer: answer.truth\}\)"):
        answers({"truth": 4})
    assert answers({"truth": 4}, {"truth": 5}, columns={"answer": "answer.truth"}) == ["4", "5"]


def test_numbers_beside_a_question_are_told_how_to_be_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"question": "q", "answer": 18}\n')
    with pytest.raises(DataError, match=r"column 'answer' is 18. Expected worked steps .*name the columns in the recipe"):
        load_problems(path=str(tmp_path / "a.jsonl"))
