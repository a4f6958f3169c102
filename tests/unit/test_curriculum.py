"""Orders of problems: by rank, stable among equals, refused where a rank is missing."""

import json
import random

import pytest

from g2rpo.data.curriculum import in_order, of_difficulty, of_pass_rate, read_pass_rates
from g2rpo.data.decontaminate import normalised_words, overlaps, without
from g2rpo.data.problem import Problem
from g2rpo.data.sources.openr1 import TIERS
from g2rpo.data.trace_choice import pick_traces, traces_of
from g2rpo.errors import ConfigError, DataError
from g2rpo.training.run.recipe import resolve

PROBLEMS = [Problem(f"k{i}", "q", "1", difficulty=float(i % 3), source=TIERS[-1 - i % 5]) for i in range(30)]


@pytest.mark.parametrize(
    ("by", "rank"),
    [
        ("difficulty", lambda p: p.difficulty),
        ("tiers", lambda p: TIERS.index(p.source)),
        ("pass_rate", lambda p: -int(p.key[1:]) % 4),
    ],
)
def test_easy_to_hard(by, rank):
    rates = {p.key: 1 - (-int(p.key[1:]) % 4) / 4 for p in PROBLEMS}
    ordered = in_order(PROBLEMS, "easy_to_hard", by, seed=1, pass_rates=rates)
    assert [rank(p) for p in ordered] == sorted(rank(p) for p in PROBLEMS)
    assert sorted(p.key for p in ordered) == sorted(p.key for p in PROBLEMS)
    # Equals are mixed by the seed, whatever order they came in.
    shuffled = random.Random(0).sample(PROBLEMS, len(PROBLEMS))
    assert in_order(shuffled, "easy_to_hard", by, seed=1, pass_rates=rates) == ordered
    assert in_order(PROBLEMS, "easy_to_hard", by, seed=2, pass_rates=rates) != ordered


@pytest.mark.parametrize("mode", ["mixed", "sequential"])
def test_other_modes_leave_the_rows_as_they_are(mode):
    assert in_order(PROBLEMS, mode) == PROBLEMS


@pytest.mark.parametrize(
    ("by", "problem", "message"),
    [
        ("difficulty", Problem("new", "q"), r"difficulty of 1 of 31 problems, the first of them is 'new'.*columns: \{difficulty"),
        (
            "tiers",
            Problem("new", "q", source="web"),
            r"source of 1 of 31 problems, the first of them is 'web'.*curriculum_tiers; known now: cn_contest",
        ),
        ("pass_rate", Problem("new", "q"), r"pass_rate of 31 of 31 problems.*g2rpo data difficulty"),
    ],
)
def test_a_problem_without_a_rank_is_refused(by, problem, message):
    with pytest.raises(DataError, match=message):
        in_order([*PROBLEMS, problem], "easy_to_hard", by)


def test_pass_rates_are_read_by_key(tmp_path):
    path = tmp_path / "rates.jsonl"
    path.write_text(json.dumps({"key": "a", "pass_rate": 0.25, "k": 4}) + "\n" + json.dumps({"key": "b", "pass_rate": 1}) + "\n")
    assert read_pass_rates(path) == {"a": 0.25, "b": 1.0}
    for bad in ("{", '{"key": "a"}', '{"key": "a", "pass_rate": 2}', "7"):
        path.write_text(bad + "\n")
        with pytest.raises(DataError, match=r"line 1 of .*Measure again"):
            read_pass_rates(path)
    with pytest.raises(DataError, match="curriculum_file"):
        read_pass_rates(tmp_path / "none")


# --- in a recipe


def recipe(**fields):
    return resolve({"task": "chains", "task_steps": [1, 5], "task_size": 40, "bf16": False, "use_cpu": True, **fields})


def test_a_curriculum_sets_trls_shuffling():
    assert recipe().training.shuffle_dataset is True
    assert recipe(curriculum="easy_to_hard").training.shuffle_dataset is False
    assert recipe(curriculum="sequential").training.shuffle_dataset is False
    assert recipe(curriculum="mixed").training.shuffle_dataset is True
    made = recipe(curriculum="easy_to_hard", shuffle_dataset=False)
    ordered = made.data.in_curriculum(made.data.problems(), seed=0)
    assert [p.difficulty for p in ordered] == sorted(p.difficulty for p in ordered)
    assert recipe().data.in_curriculum(PROBLEMS, 0) == PROBLEMS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"curriculum": "easy_to_harder"}, r"curriculum is 'easy_to_harder'.*Did you mean 'easy_to_hard'"),
        ({"curriculum": "sequential", "curriculum_by": "dificulty"}, r"curriculum_by is 'dificulty'.*Did you mean 'difficulty'"),
        (
            {"curriculum": "easy_to_hard", "shuffle_dataset": True},
            r"shuffle_dataset is True. Expected false with curriculum: easy_to_hard",
        ),
        ({"curriculum": "easy_to_hard", "curriculum_by": "pass_rate"}, r"curriculum_file is None.*g2rpo data difficulty"),
    ],
)
def test_settings_that_cannot_be(fields, message):
    with pytest.raises(ConfigError, match=message):
        recipe(**fields)


# --- which trace


def test_one_of_several_traces_is_taken():
    many = Problem("m", "q", "1", "bb", traces=("ccc", "bb", "dddd"))
    one = Problem("o", "q", "1", "x")
    assert [p.trace for p in pick_traces([many, one])] == ["bb", "x"]
    assert [p.trace for p in pick_traces([many, one], "first")] == ["ccc", "x"]
    assert traces_of(one) == ("x",)
    assert traces_of(Problem("n", "q")) == ()
    with pytest.raises(ConfigError, match="Did you mean 'shortest'"):
        pick_traces([many], "shortes")


# --- decontamination


def ask(key, text):
    return Problem(key, [{"role": "user", "content": text}])


def test_words_are_compared_without_case_and_marks():
    assert normalised_words("If $x_1 = 3.5$, then  Stop!") == ["if", "x", "1", "3", "5", "then", "stop"]


def test_a_run_of_thirteen_words_is_an_overlap_and_twelve_are_none():
    words = [f"w{i}" for i in range(20)]
    test = [ask("t", " ".join(words))]
    twelve, thirteen = ask("a", "x " + " ".join(words[:12]) + " y"), ask("b", "X, " + ", ".join(words[5:18]).upper() + "; y")
    [found] = overlaps([twelve, thirteen], test)
    assert (found.train_key, found.test_key, found.words) == ("b", "t", " ".join(words[5:18]))
    assert without([twelve, thirteen], [found]) == [twelve]
    assert len(overlaps([twelve, thirteen], test, n=12)) == 2


def test_short_questions_overlap_as_a_whole():
    assert [
        o.train_key for o in overlaps([ask("a", "What is 2+2?"), ask("b", "What is 2+2 now?")], [ask("t", "what is 2 + 2")])
    ] == ["a"]
    assert overlaps([ask("a", "?!")], [ask("t", "!")]) == []
    with pytest.raises(ConfigError, match="ngram is 0"):
        overlaps([], [], n=0)


def test_gsm8k_train_and_test(data_folder):
    from g2rpo.data.load import load_named

    train, test = (load_named("gsm8k", split=split, data=data_folder) for split in ("train", "test"))
    assert len(overlaps(train, test)) < 0.01 * len(train)


def test_problems_of_some_difficulties_alone():

    problems = [Problem(str(d), "q", answer="1", difficulty=d) for d in (1.0, 2.0, None, 3.0, 4.0)]
    assert [p.key for p in of_difficulty(problems, [1, 3])] == ["1.0", "2.0", "3.0"]
    assert [p.key for p in of_difficulty(problems, [2])] == ["2.0"]
    with pytest.raises(ConfigError, match=r"dataset_difficulty is .* the data have values from 1 to 4"):
        of_difficulty(problems, [7, 9])
    with pytest.raises(ConfigError, match="lowest and highest"):
        of_difficulty(problems, [3, 1])
    with pytest.raises(ConfigError, match="names their column"):
        of_difficulty([Problem("k", "q", answer="1")], [1])


def test_problems_that_a_model_solves_this_often_alone():
    problems = [Problem(key, "q", answer="1") for key in "abcd"]
    rates = {"a": 0.0, "b": 0.5, "c": 0.1}
    assert [p.key for p in of_pass_rate(problems, [0, 0.1], rates)] == ["a", "c"]
    with pytest.raises(ConfigError, match="the data have no such values; g2rpo data difficulty measures them"):
        of_pass_rate(problems, [0], {})


def test_held_out_problems_are_not_chosen_by_pass_rate(tmp_path):
    fields = {"task": "chains", "task_size": 4, "task_steps": [2], "output_dir": str(tmp_path), "use_cpu": True, "bf16": False}
    keys = [p.key for p in resolve(fields).data.problems()]
    rates = tmp_path / "rates.jsonl"
    rates.write_text("".join(json.dumps({"key": key, "pass_rate": i / 4}) + "\n" for i, key in enumerate(keys)))
    with pytest.raises(ConfigError, match=r"curriculum_file is None.*the pass rates that dataset_pass_rate needs"):
        resolve({**fields, "dataset_pass_rate": [0, 0.3]})
    data = resolve({**fields, "dataset_pass_rate": [0, 0.3], "curriculum_file": str(rates)}).data
    assert [p.key for p in data.problems()] == keys[:2]
    assert len(data.problems("test")) == 4


def test_a_recipe_keeps_short_gsm8k_problems(data_folder, monkeypatch):

    monkeypatch.setenv("G2RPO_TEST_FOLDER", str(data_folder))
    recipe = resolve(
        {
            "dataset_path": "$G2RPO_TEST_FOLDER/gsm8k",
            "dataset_difficulty": [1, 3],
            "dataset_limit": 50,
            "preset": "grpo",
            "output_dir": "unused",
            "use_cpu": True,
            "bf16": False,
        }
    )
    train, test = recipe.data.problems(), recipe.data.problems("test")
    assert len(train) == len(test) == 50
    assert {p.difficulty for p in train} <= {1.0, 2.0, 3.0}
