"""Data that can be read and still disappoints: found before training, and told in the same words by `g2rpo data check` and `g2rpo
train`."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlvr_graders.exact import normalise_text
from rlvr_graders.extract import choice_letter
from rlvr_graders.math.grade import is_solution
from rlvr_graders.math.latex import normalise
from rlvr_graders.math.numbers import parse_quantity

from g2rpo.data.problem import Problem
from g2rpo.errors import rows_from_1

_FUNCTION_WORDS = {
    "English": "the and is of to in that we it for are this with so by",
    "German": "der die das und ist nicht ein eine wir mit auf für den von wird",
    "French": "le la les et est des une nous dans pour que donc avec sur du",
    "Spanish": "el los las y es una de que para por se con del entonces como",
    "Portuguese": "o os as e é uma de que para por se com do então como",
    "Italian": "il lo gli e è una di che per si con del quindi come sono",
}
_WORDS = {
    word: [name for name, words in _FUNCTION_WORDS.items() if word in words.split()]
    for words in _FUNCTION_WORDS.values()
    for word in words.split()
}
_LATEX = re.compile(r"\$[^$]*\$|\\[a-zA-Z]+|```.*?```", re.DOTALL)


@dataclass(frozen=True)
class Disappointment:
    """One kind of disappointing data in a set."""

    kind: str
    what: str
    """What is so, and what it does to training."""
    rows: tuple[int, ...]
    of: int
    fault: bool = True
    """Whether it is wrong; else it is only good to know."""

    def __str__(self) -> str:
        return f"{self.kind}: {len(self.rows)} of {self.of} problems, {rows_from_1(self.rows)}. {self.what}"


def disappointments(
    problems: Sequence[Problem], *, tokens: Callable[[Problem], int] | None = None, budget: int | None = None
) -> list[Disappointment]:
    """What is disappointing about a set of problems; nothing where nothing is.

    Args:
        problems: In the order of their rows.
        tokens: Length of a problem's whole completion (trace and answer) in tokens, where a model is known.
        budget: Tokens that a completion may have.
    """
    found = [_solutions(problems), _mixed(problems), _conflicting(problems), _language(problems)]
    if tokens is not None and budget is not None:
        long = [i for i, p in enumerate(problems) if p.trace and tokens(p) > budget]
        found += [longer_than_budget(long, len(problems), budget)] if long else []
    return [one for one in found if one is not None]


def longer_than_budget(rows: Sequence[int], of: int, budget: int) -> Disappointment:
    """Traces that do not fit into a completion with their answer."""
    return Disappointment(
        "trace longer than the budget",
        f"Trace and answer do not fit into {budget} tokens (max_completion_length): a rollout that is "
        "shown most of such a trace is cut before it can answer. Raise it, or drop them.",
        tuple(rows),
        of,
        fault=False,
    )


def _found(kind: str, what: str, rows: Sequence[int], problems: Sequence[Problem], fault: bool = True) -> Disappointment | None:
    return Disappointment(kind, what, tuple(rows), len(problems), fault) if rows else None


def _solutions(problems: Sequence[Problem]) -> Disappointment | None:
    rows = [i for i, p in enumerate(problems) if p.answer is not None and is_solution(p.answer)]
    return _found(
        "answer is a whole solution",
        "It marks no answer, so that nothing can be graded as right. Name the column of the answer "
        "(columns: {answer: ...}), or mark it with \\boxed{} or ####.",
        rows,
        problems,
    )


def answer_type(answer: str) -> str:
    """What an answer is: a number, a choice, words or a formula."""
    spelling = normalise(answer)
    if parse_quantity(spelling) is not None:
        return "number"
    if choice_letter(spelling) is not None:
        return "choice"
    return "words" if re.fullmatch(r"[^\W\d_]{2,}(?:[ ,.'-]+[^\W\d_]+)*", spelling) else "formula"


def _mixed(problems: Sequence[Problem]) -> Disappointment | None:
    """Letters of a multiple choice among other answers: the same question is asked in two ways, or the column in the other rows
    is wrong."""
    types = [answer_type(p.answer) if p.answer is not None else None for p in problems]
    count = Counter(filter(None, types))
    if "choice" not in count or len(count) < 2:
        return None
    told = ", ".join(f"{n} {name}" for name, n in count.most_common())
    rare = count.most_common()[-1][0]
    rows = [i for i, name in enumerate(types) if name == rare]
    return _found(
        "answers of mixed types",
        f"There are {told}; the rows are those of type {rare}. A letter is graded as a choice. See that the column "
        "holds what a model is asked for.",
        rows,
        problems,
        fault=False,
    )


def _conflicting(problems: Sequence[Problem]) -> Disappointment | None:
    return _found(
        "same question, different answers",
        "At most one of them is right, and the others punish it. Keep one of each.",
        conflicting_rows(problems),
        problems,
    )


def conflicting_rows(problems: Sequence[Problem]) -> list[int]:
    """Rows whose question stands in an earlier row with another answer."""
    first: dict[str, str] = {}
    rows = []
    for number, problem in enumerate(problems):
        if problem.answer is not None:
            before = first.setdefault(json.dumps(problem.prompt, sort_keys=True), problem.answer)
            if not _same(before, problem.answer):
                rows.append(number)
    return rows


def _same(one: str, other: str) -> bool:
    if one == other or normalise_text(one) == normalise_text(other):
        return True
    a, b = (parse_quantity(normalise(text)) for text in (one, other))
    return a is not None and b is not None and a.value == b.value


def _language(problems: Sequence[Problem]) -> Disappointment | None:
    pairs = [(language(_question(p)), language(p.trace or "")) for p in problems]
    rows = [i for i, (asked, said) in enumerate(pairs) if asked and said and asked != said]
    others = ", ".join(sorted({str(pairs[i][1]) for i in rows}))
    return _found(
        "trace in another language",
        f"Question and trace differ (traces in {others}): a model that is guided by them learns to "
        "change its language. Drop or translate them.",
        rows,
        problems,
        fault=False,
    )


def language(text: str) -> str | None:
    """The language of a text by its script, or for Latin letters by its function words; None where neither is clear."""
    text = _LATEX.sub(" ", text[:4000])
    scripts = Counter(unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha())
    if scripts and sum(scripts.values()) >= 8:
        script, letters = scripts.most_common(1)[0]
        if script not in ("LATIN", "GREEK") and letters > 0.3 * sum(scripts.values()):
            return {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}.get(
                script, script.capitalize()
            )
    hits = Counter(name for word in re.findall(r"[^\W\d_]+", text.lower()) for name in _WORDS.get(word, ()))
    best = hits.most_common(2)
    if not best or best[0][1] < 3 or (len(best) > 1 and best[0][1] < 1.5 * best[1][1]):
        return None
    return best[0][0]


def _question(problem: Problem) -> str:
    if isinstance(problem.prompt, str):
        return problem.prompt
    return " ".join(str(message.get("content") or "") for message in problem.prompt if message.get("role") == "user")
