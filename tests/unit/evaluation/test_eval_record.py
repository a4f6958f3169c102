"""The folder of a suite: other settings are refused by name, a torn line is no sample."""

import pytest

from g2rpo.errors import RunError
from g2rpo.evaluation.metrics import Sample
from g2rpo.evaluation.suite_directory import SuiteDirectory

SETTINGS = {"seed": 0, "suite": {"name": "x", "max_tokens": 5}, "stop": []}
SAMPLE = Sample("k", 0, 1.0, "equal", "1", "line one\u2028line two \x85 \ud800", 4, True)


def test_samples_come_back(tmp_path):
    folder = SuiteDirectory(tmp_path / "x")
    folder.claim(SETTINGS)
    folder.append([SAMPLE])
    [back] = folder.samples()
    assert (back.key, back.score, back.ended) == ("k", 1.0, True)
    assert back.completion.startswith("line one\u2028line two \x85")


def test_a_torn_last_line_is_dropped(tmp_path):
    folder = SuiteDirectory(tmp_path / "x")
    folder.claim(SETTINGS)
    folder.append([SAMPLE])
    with folder.samples_file.open("a") as file:
        file.write('{"key": "k2", "sam')
    folder.claim(SETTINGS)
    assert [s.key for s in folder.samples()] == ["k"]
    folder.append([Sample("k2", 0, 0.0, "different", "2", "x")])
    assert [s.key for s in folder.samples()] == ["k", "k2"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed is 1. Expected 0"),
        ({"suite": {"name": "x", "max_tokens": 6}}, "suite.max_tokens is 6. Expected 5"),
        ({"new": True}, "new is True. Expected None"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, change, words):
    folder = SuiteDirectory(tmp_path / "x")
    folder.claim(SETTINGS)
    folder.claim(dict(SETTINGS))
    with pytest.raises(RunError) as error:
        folder.claim({**SETTINGS, **change})
    assert words in str(error.value)
    assert "choose another --out" in str(error.value)


def test_what_is_no_evaluation(tmp_path):
    with pytest.raises(RunError, match="written by g2rpo eval"):
        SuiteDirectory(tmp_path).settings()
