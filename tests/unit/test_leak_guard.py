"""The leak guard, case by case: a prefix may show what stands before the bar, never what stands behind it."""

import pytest

from g2rpo.errors import ConfigError
from g2rpo.method.leak_guard import leak_start

# "|" marks where the guard must stop; no bar means that the whole trace may be shown.
STRICT = [
    ("48", "50-2=|48", "the answer itself"),
    ("48", "|48 is near. 50-2=48", "its first place counts, not its last"),
    ("48", "148, 480, 4.48 and 48.5 are other numbers; |48 is not", "inside another number"),
    ("48", "n=50, x|48y", "beside letters, to be on the safe side"),
    ("5", "x = -|5", "the digits of a negative number"),
    ("-5", "5 then |-5", "a negative answer needs its sign"),
    ("-5", "5 then |−5", "with the typographic minus"),
    ("-5", "5 then |- 5", "with a blank after the sign"),
    ("1234", "a 1,2345 b |1,234", "thousands grouped"),
    ("1,234", "a 12345 b |1234", "thousands not grouped"),
    ("1234", "1234.5 is not it, |1234.0 is", "trailing zeros"),
    ("0.5", "5, 0.55, 10.5, then |0.50", "decimals"),
    ("3.10", "a |3.1", "trailing zeros of the gold"),
    ("7", "so |007", "leading zeros"),
    ("7", "is |7.", "a full stop ends a sentence, not a number"),
    ("7", "is |7, then", "a comma ends a clause"),
    ("$18", "earns |18 dollars", "currency of the gold"),
    ("25%", "a quarter, |25 percent", "per cent of the gold"),
    ("Paris", "Parisian, comParis, |paris", "a word of its own, whatever the case"),
    ("\\frac{1}{2}", "x = |\\frac {1} {2}", "white space inside LaTeX"),
    ("x+1", "so |x + 1", "white space inside a formula"),
    ("B", "A banana, b and B. |The answer is B", "a choice letter can be told only where it is announced"),
    ("99", "ponder |the answer is near", "an announcement, even of something else"),
    ("99", "ponder |\\boxed{1}", "a box"),
    ("99", "ponder |#### 1", "GSM8K's mark"),
    ("99", "ponder |<answer>1", "the answer tag"),
    ("99", "ponder |Final answer: 1", "a heading"),
    ("99", "nothing here", "nothing to guard"),
    ("", "1 2 3", "an empty answer tells nothing"),
]


@pytest.mark.parametrize(("answer", "marked", "why"), STRICT, ids=[w for *_, w in STRICT])
def test_strict_guard_stops_at_the_bar(answer, marked, why):
    shown, _, rest = marked.partition("|")
    assert leak_start(shown + rest, answer, "strict") == len(shown), why


@pytest.mark.parametrize(
    ("answer", "marked"),
    [("2", "2+0=2, 2*1=|2"), ("2", "2+0=2. |The answer is 2"), ("2", "nothing"), ("2", "2 first |#### 2 then 2")],
)
def test_conclusion_guard_stops_at_the_last_place_or_the_first_announcement(answer, marked):
    shown, _, rest = marked.partition("|")
    assert leak_start(shown + rest, answer, "conclusion") == len(shown)


def test_guard_off_or_no_answer_shows_everything():
    assert leak_start("the answer is 4", "4", "off") == len("the answer is 4")
    assert leak_start("def f(): the answer is 4", None, "strict") == len("def f(): the answer is 4")


def test_an_unknown_guard_names_the_nearest():
    with pytest.raises(ConfigError, match=r"guidance_leak_guard is 'strickt'.*Did you mean 'strict'"):
        leak_start("a", "b", "strickt")


@pytest.mark.parametrize(
    ("answer", "marked"), [("12", "the roots are |12,5"), ("3", "the roots are 1,2,|3"), ("2,3", "the roots are |2,3")]
)
def test_numbers_of_a_list_written_without_blanks_leak(answer, marked):
    shown, _, rest = marked.partition("|")
    assert leak_start(shown + rest, answer, "strict") == len(shown)


@pytest.mark.parametrize(("answer", "marked"), [("0.5", "so |.5"), ("1234", "so |1{,}234"), ("1234", "so |1\\,234")])
def test_other_spellings_of_the_answer_leak(answer, marked):
    shown, _, rest = marked.partition("|")
    assert leak_start(shown + rest, answer, "strict") == len(shown)
