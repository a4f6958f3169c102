"""Files are whole or not there; JSON that a person wrote is an object, or the error says what to write."""

import json

import pytest

from g2rpo.errors import ConfigError
from g2rpo.io import json_object, replacing, write_json, write_text


def test_what_is_written_can_be_read_again(tmp_path):
    write_text(tmp_path / "a.txt", "Lösung\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "Lösung\n"
    write_json(tmp_path / "a.json", {"b": [1, None], "path": tmp_path}, default=str)
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, None], "path": str(tmp_path)}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.txt"]


def test_a_lone_surrogate_does_not_stop_the_writing(tmp_path):
    write_text(tmp_path / "a.txt", "a\udc80b")
    assert (tmp_path / "a.txt").read_text() == "a?b"


def test_a_failure_inside_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="full"), replacing(path) as part:  # noqa: PT012
        part.write_text("ne")
        raise OSError("full")
    assert path.read_text() == "old"
    with pytest.raises(TypeError):
        write_json(path, object())
    assert path.read_text() == "old"


def test_an_object_is_read():
    assert json_object("kwargs", '{"window": 2}', example="") == {"window": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", 'Write it like {"window": 2}.'),
        ("{", "It does not parse: "),
        ("", "It does not parse: "),
        ("[" * 100_000, "parse"),
    ],
)
def test_anything_else_is_refused(text, words):
    with pytest.raises(ConfigError, match=r"kwargs is .*Expected a JSON object") as error:
        json_object("kwargs", text, example='{"window": 2}')
    assert words in str(error.value)
