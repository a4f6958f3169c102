"""What an evaluation leaves on disk, one folder per suite:

    settings.json   what decides the result: checkpoint, data, prompts, decoding, seed
    samples.jsonl   one line per sample, flushed as it comes; in the suite's order when done
    results.json    the numbers, a pure function of the two files above
    manifest.json   when, where, how long, with which versions: nothing of it is in the other files

A killed evaluation goes on from the samples that are there. The same settings give the same bytes in the first three files,
whatever interrupted it; other settings are refused.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from g2rpo.errors import RunError
from g2rpo.evaluation.metrics import Sample
from g2rpo.io import write_json, write_text


class SuiteDirectory:
    """Reads and writes the files above."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.settings_file, self.samples_file = self.path / "settings.json", self.path / "samples.jsonl"

    def claim(self, settings: dict[str, Any]) -> None:
        """Makes the folder, or takes up what was begun there with the same settings.

        Raises:
            RunError: it holds an evaluation with other settings; names the first that differs.
        """
        settings = json.loads(json.dumps(settings))
        if self.settings_file.exists():
            before = json.loads(self.settings_file.read_text())
            if differs := _first_difference(before, settings):
                name, was, now = differs
                raise RunError(
                    name,
                    now,
                    expected=f"{was!r}, with which the evaluation in {self.path} was begun",
                    then="Evaluate with the same settings to go on, or choose another --out.",
                )
            self._drop_torn_line()
            return
        self.path.mkdir(parents=True, exist_ok=True)
        if self.samples_file.exists():
            raise RunError(
                "out", str(self.path), expected="a folder without samples of unknown settings", then="Choose another --out."
            )
        write_json(self.settings_file, settings, ensure_ascii=False)

    def settings(self) -> dict[str, Any]:
        if not self.settings_file.exists():
            raise RunError("evaluation", str(self.path), expected="a folder written by g2rpo eval", then="Check the path.")
        settings: dict[str, Any] = json.loads(self.settings_file.read_text())
        return settings

    def samples(self) -> list[Sample]:
        """All that are there, in the order of the file."""
        if not self.samples_file.exists():
            return []
        return [Sample(**json.loads(line)) for line in self.samples_file.read_text(encoding="utf-8").split("\n") if line]

    def append(self, samples: Sequence[Sample]) -> None:
        with self.samples_file.open("a", encoding="utf-8", errors="replace") as file:
            for sample in samples:
                file.write(_line(sample))
                file.flush()

    def finish(self, samples: Sequence[Sample], results: dict[str, Any]) -> None:
        """The samples in their final order, then the results: where these are, the evaluation is whole."""
        write_text(self.samples_file, "".join(map(_line, samples)))
        write_json(self.path / "results.json", results, ensure_ascii=False)

    def results(self) -> dict[str, Any] | None:
        file = self.path / "results.json"
        return json.loads(file.read_text()) if file.exists() else None

    def add_session(self, facts: dict[str, Any]) -> None:
        """One entry of the manifest per session that worked on this suite."""
        file = self.path / "manifest.json"
        before = json.loads(file.read_text())["sessions"] if file.exists() else []
        write_json(file, {"sessions": [*before, facts]}, ensure_ascii=False)

    def _drop_torn_line(self) -> None:
        if not self.samples_file.exists():
            return
        text = self.samples_file.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with self.samples_file.open("r+b") as file:
                file.truncate(len(whole))


def _line(sample: Sample) -> str:
    return json.dumps(dataclasses.asdict(sample), ensure_ascii=False) + "\n"


def _first_difference(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> tuple[str, Any, Any] | None:
    for name in dict.fromkeys([*now, *before]):
        was, new = before.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(new, dict):
            if found := _first_difference(was, new, f"{prefix}{name}."):
                return found
        elif was != new:
            return prefix + name, was, new
    return None
