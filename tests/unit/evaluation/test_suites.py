"""Suites as files: every one that comes with the package reads, and a mistake in one's own is told."""

import pytest

from g2rpo.errors import ConfigError, DataError
from g2rpo.evaluation.suite import load_suite, names

MINE = "about: x\ngrader: math\nmax_tokens: 5\n"


@pytest.mark.parametrize("name", names())
def test_every_suite_reads_and_says_what_it_is(name):
    suite = load_suite(name)
    assert suite.name == name
    assert len(suite.about) > 30
    assert "{problem}" in suite.chat
    assert "{problem}" in suite.plain


def test_a_procedural_suite_takes_steps():
    problems = load_suite("chains:4").problems(limit=5)
    assert [p.difficulty for p in problems] == [4.0] * 5
    assert load_suite("chains:4").name == "chains-4"
    assert {p.difficulty for p in load_suite("chains:2-3").problems(limit=40)} == {2.0, 3.0}
    assert load_suite("chains").problems(limit=3) == load_suite("chains").problems(limit=7)[:3]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gsm8", "Did you mean 'gsm8k'"),
        ("nothing-like-it", "Known: "),
        ("gsm8k:4", "only procedural tasks have them"),
        ("chains:x", "chains:9 or chains:3-9"),
        ("no/such/file.yaml", "a YAML file"),
    ],
)
def test_unknown_suites(name, words):
    with pytest.raises(ConfigError, match="suite") as error:
        load_suite(name)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("about: x\ngrader: math\nmax_tokens: 5\ntask: {}\nmax_token: 3", "Did you mean 'max_tokens'"),
        ("about: x\ngrader: mth\nmax_tokens: 5\ntask: {}", "Did you mean 'math'"),
        ("about: x\ngrader: math\ntask: {}", "max_tokens in suite"),
        ("about: x\ngrader: math\nmax_tokens: 5", "exactly one of data and task"),
        ("about: x\ngrader: math\nmax_tokens: 5\ntask: {}\nchat: Solve it", "where the problem's text belongs"),
        ("about: x\ngrader: math\nmax_tokens: 5\ndata: {folder: x}", "one of set, split"),
        ("- about", "a mapping of fields"),
        ("about: [", "valid YAML"),
        (MINE + "task: {family: chains, steps: [3]}", "size of the task in suite"),
        (MINE + "task: {family: chains, steps: [3], size: 0}", "a positive number of problems"),
        (MINE + "task: {family: chains, steps: 2, size: 4}", "a list of one number, [9], or two"),
        (MINE + "task: {family: chains, steps: [5, 3], size: 4}", "a list of one number, [9], or two"),
        (MINE + "task: {steps: [3], size: 4}", "the name of a procedural task"),
        (MINE + "task: {family: chains, steps: [3], size: 4, chat: x}", "one of family, steps, size"),
        (MINE + "task: chains", "For example {family: chains, steps: [9], size: 512}"),
        (MINE + "data: gsm8k", "For example {set: gsm8k, split: test}"),
        (MINE + "data: {set: 5}", "set of the data in suite"),
        (MINE + "data: {path: x.jsonl, columns: question}", "a mapping of roles to columns"),
        (MINE + "data: {set: gsm8k}\nchat: 5", "is 5. Expected text"),
        (MINE + "data: {set: gsm8k}\nsystem: [5]", "is [5]. Expected text"),
        (MINE + "data: {set: gsm8k}\nstop: END", "a list of texts"),
        ("about: x\ngrader: math\nmax_tokens: 0\ndata: {set: gsm8k}", "a positive number of tokens"),
        ("about: x\ngrader: math\nmax_tokens: true\ndata: {set: gsm8k}", "a positive number of tokens"),
    ],
)
def test_mistakes_in_a_suite_of_ones_own(tmp_path, text, words):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_suite(str(tmp_path / "mine.yaml"))
    assert words in str(error.value)


def test_data_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="a folder with the data sets by name"):
        load_suite("gsm8k").problems(tmp_path)


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"ask": "1+1?", "gold": "2"}\n')
    (tmp_path / "mine.yaml").write_text(
        "about: mine\ngrader: math\nmax_tokens: 5\ndata: {path: mine.jsonl, columns: {prompt: question, answer: gold}}"
    )
    with pytest.raises(DataError, match="column 'question' for the prompt") as error:
        load_suite(str(tmp_path / "mine.yaml")).problems(tmp_path)
    assert "ask, gold" in str(error.value)


@pytest.mark.parametrize(
    ("name", "count"), [("gsm8k", 1319), ("humaneval", 164), ("humanevalplus", 164), ("mbpp", 500), ("mbppplus", 378)]
)
def test_suites_on_real_data(data_folder, name, count):
    suite = load_suite(name)
    problems = suite.problems(data_folder)
    assert len(problems) == count
    assert load_suite(name).problems(data_folder, limit=3) == problems[:3]
