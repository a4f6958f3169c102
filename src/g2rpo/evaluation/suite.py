"""A suite: which problems, how they are put to the model, how answers are graded. One YAML file each, in `suites/`.

about      what it is, with its source
data       fields of `load_problems` (name, config, split, ...), and `folder`: its place under `--data DIR`
task       instead of data: {family, steps, size} of a procedural task, steps [9], or [3, 9] for 3 to 9; `chains:9` overrides them
grader     math, code or exact: the graders that training uses
max_tokens new tokens per completion
system     system message before every problem, if any
chat       the user's message; {problem} is the problem's text
plain      the whole text for a model without a chat template; ends where the model is to go on
stop       texts that end a completion of `plain`: a base model that goes on to the next question has answered this one
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g2rpo.data.problem import Problem
from g2rpo.errors import ConfigError, nearest, one_of
from g2rpo.evaluation.grading import GRADERS

HERE = Path(__file__).parent / "suites"
PLACE = "{problem}"
Rule = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what would be."""


@dataclass(frozen=True)
class Suite:
    """The fields of a suite's file; see the head of this one."""

    name: str
    about: str
    grader: str
    max_tokens: int
    data: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    system: str = ""
    chat: str = PLACE
    plain: str = PLACE
    stop: tuple[str, ...] = field(default=())

    def problems(self, folder: Path | None = None, limit: int | None = None) -> list[Problem]:
        """The problems, in the suite's order; the first `limit` of them.

        Args:
            folder: Where local copies lie, as `folder/<set>/<split>.jsonl`; without it, known sets come from the hub.

        Raises:
            DataError: not there, or a row that cannot be read; says which.
        """
        if self.task is not None:
            from g2rpo.data.tasks import make

            size = self.task["size"] if limit is None else min(limit, self.task["size"])
            low, high = self.task["steps"][0], self.task["steps"][-1]
            return make(self.task["family"], "test", size, steps=(low, high))
        from g2rpo.data.load import load_named, load_problems

        fields = dict(self.data or {})
        if "set" in fields:
            return load_named(fields.pop("set"), data=folder, limit=limit, **fields)
        if folder is not None and "path" in fields:
            fields["path"] = str(Path(folder) / fields["path"])
        return load_problems(**fields, limit=limit)

    def instructed(self, system: str | None = None, instruction: str | None = None) -> "Suite":
        """The suite with another system message, or another line after the problem, for models with a chat template."""
        changes: dict[str, Any] = {}
        if system is not None:
            changes["system"] = system
        if instruction is not None:
            changes["chat"] = f"{PLACE}\n{instruction}" if instruction else PLACE
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "stop": list(self.stop)}


def names() -> list[str]:
    """The suites that come with the package."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """A suite by name, `name:steps` for a procedural task (`chains:9`, `chains:3-9`), or the path of a YAML file of your own.

    Raises:
        ConfigError: no such suite (with the nearest name), or a file that is none; says which field.
    """
    import yaml

    stem, _, steps = name.partition(":") if not name.endswith((".yaml", ".yml")) else (name, "", "")
    path = Path(stem) if stem.endswith((".yaml", ".yml")) else HERE / f"{stem}.yaml"
    if not path.is_file():
        raise ConfigError("suite", name, expected="the name of a suite, or a YAML file", then=nearest(stem, names()))
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"suite {path}", expected="valid YAML", then=" ".join(str(error).split())) from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"suite {path}", values, expected="a mapping of fields", then="See g2rpo/evaluation/suites for examples."
        )
    suite = _checked(path, {"name": f"{path.stem}-{steps}" if steps else path.stem, **values})
    if not steps:
        return suite
    if suite.task is None:
        raise ConfigError("suite", name, expected=f"{stem} without steps: only procedural tasks have them", then=f"Write {stem}.")
    try:
        bounds = [int(part) for part in steps.split("-")]
    except ValueError:
        bounds = []
    if len(bounds) not in (1, 2):
        raise ConfigError("suite", name, expected=f"a number of steps, such as {stem}:9 or {stem}:3-9", then="Mend the number.")
    return dataclasses.replace(suite, task={**suite.task, "steps": bounds})


def _checked(path: Path, values: dict[str, Any]) -> Suite:
    _check(path, "field", values, _FIELDS, ("about", "grader", "max_tokens"), "See g2rpo/evaluation/suites.")
    one_of(f"grader in suite {path}", values["grader"], GRADERS)
    if (values.get("data") is None) == (values.get("task") is None):
        raise ConfigError(f"suite {path}", expected="exactly one of data and task", then="Name where the problems come from.")
    if values.get("task") is not None:
        _check(path, "task", values["task"], _TASK, tuple(_TASK), "For example {family: chains, steps: [9], size: 512}.")
    else:
        _check(path, "data", values["data"], _DATA, (), "For example {set: gsm8k, split: test}.")
    return Suite(**{**values, "stop": tuple(values.get("stop") or ())})


def _check(path: Path, what: str, found: Any, rules: Mapping[str, Rule], required: tuple[str, ...], example: str) -> None:
    if not isinstance(found, dict) or not found:
        raise ConfigError(f"{what} in suite {path}", found, expected=f"a mapping of {', '.join(rules)}", then=example)
    for name in found:
        if name not in rules:
            raise ConfigError(
                f"field of suite {path}", name, expected=f"one of {', '.join(rules)}", then=nearest(str(name), list(rules))
            )
    for name in (*required, *found):
        value, (right, expected) = found.get(name), rules[name]
        if not right(value):
            place = f"{name} of the {what}" if what != "field" else name
            raise ConfigError(
                f"{place} in suite {path}", value, expected=expected, then="Fill it in." if value is None else "Mend it."
            )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (1, 2) and all(map(_is_count, value)) and value[0] <= value[-1]


_ANY: Rule = (lambda value: True, "")
_TEXT: Rule = (_is_text, "text")
_WITH_PLACE: Rule = (lambda value: _is_text(value) and PLACE in value, f"text with {PLACE} where the problem's text belongs")
_FIELDS: dict[str, Rule] = {
    **dict.fromkeys(("name", "about", "grader", "system"), _TEXT),
    **dict.fromkeys(("chat", "plain"), _WITH_PLACE),
    **dict.fromkeys(("data", "task"), _ANY),
    "max_tokens": (_is_count, "a positive number of tokens"),
    "stop": (lambda value: isinstance(value, list) and all(_is_text(one) and one for one in value), "a list of texts"),
}
_TASK: dict[str, Rule] = {
    "family": (_is_text, "the name of a procedural task"),
    "steps": (_are_steps, "a list of one number, [9], or two, [3, 9] for 3 to 9"),
    "size": (_is_count, "a positive number of problems"),
}
_DATA: dict[str, Rule] = {
    **dict.fromkeys(("set", "split", "name", "path", "config", "source", "duplicates"), _TEXT),
    "columns": (lambda value: isinstance(value, dict), "a mapping of roles to columns"),
}
