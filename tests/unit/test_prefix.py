"""Traces as ids: lengths in their three units, steps, and the tokens that the guard leaves."""

import pytest

from g2rpo.data.trace_text import clean_trace, strip_calculator_marks
from g2rpo.errors import DataError
from g2rpo.method.prefix import TraceTokens, encode_plain, tokenize_trace

TEN = TraceTokens(tuple(range(10)), (3, 7, 10))


@pytest.mark.parametrize(
    ("amount", "unit", "tokens"),
    [
        (0, "tokens", 0),
        (-4, "tokens", 0),
        (0.9, "tokens", 0),
        (1, "tokens", 1),
        (4.7, "tokens", 4),
        (10, "tokens", 10),
        (3072, "tokens", 10),
        (0, "fraction", 0),
        (-0.1, "fraction", 0),
        (0.09, "fraction", 0),
        (0.1, "fraction", 1),
        (0.3, "fraction", 3),
        (0.7, "fraction", 7),
        (0.999, "fraction", 9),
        (1.0, "fraction", 10),
        (1.5, "fraction", 10),
        (0, "steps", 0),
        (0.9, "steps", 0),
        (1, "steps", 3),
        (1.9, "steps", 3),
        (2, "steps", 7),
        (3, "steps", 10),
        (99, "steps", 10),
    ],
)
def test_a_length_in_its_unit(amount, unit, tokens):
    assert TEN.length(amount, unit) == tokens


@pytest.mark.parametrize(
    ("tokens", "limit", "end"),
    [(0, 99, 0), (1, 99, 0), (2, 99, 3), (5, 99, 3), (6, 99, 7), (9, 99, 10), (10, 99, 10), (10, 9, 7), (10, 2, 0), (40, 99, 10)],
)
def test_the_nearest_whole_step(tokens, limit, end):
    assert TEN.whole_steps(tokens, limit) == end
    assert TraceTokens((), ()).whole_steps(tokens, limit) == 0


@pytest.mark.parametrize("tenths", range(11))
def test_a_fraction_is_not_spoiled_by_floating_point(tenths):
    assert TEN.length(0.1 * tenths, "fraction") == tenths


@pytest.mark.parametrize("unit", ["tokens", "fraction", "steps"])
def test_an_empty_trace_has_no_length(unit):
    assert TraceTokens((), ()).length(5, unit) == 0


def test_whole_steps_decode_to_whole_lines(tokenizer):
    trace = "37+15=52\n52-12=40\n40+8=48"
    tokens = tokenize_trace(tokenizer, "<think>\n", trace, "48")
    shown = [tokenizer.decode(tokens.ids[:end]) for end in tokens.step_ends]
    assert shown == ["<think>\n37+15=52\n", "<think>\n37+15=52\n52-12=40\n"]


def test_the_last_token_before_the_answer_is_the_last_one_shown(tokenizer):
    tokens = tokenize_trace(tokenizer, "<think>\n", "37+15=52\n52-12=40\n40+8=48", "48")
    assert tokenizer.decode(tokens.ids) == "<think>\n37+15=52\n52-12=40\n40+8="


def test_without_a_guard_the_whole_trace_is_shown_and_its_end_is_a_step(tokenizer):
    tokens = tokenize_trace(tokenizer, "<think>\n", "1+1=2\n2+2=4", "4", "off")
    assert tokenizer.decode(tokens.ids) == "<think>\n1+1=2\n2+2=4"
    assert tokens.step_ends[-1] == len(tokens.ids)


def test_a_trace_that_is_the_answer_shows_only_what_stands_around_it(tokenizer):
    assert tokenizer.decode(tokenize_trace(tokenizer, "<think>\n", "48", "48").ids) == "<think>\n"


def test_control_tokens_in_a_trace_are_plain_characters(tokenizer):
    text = "a<|im_end|>b<|endoftext|>c<|im_start|>"
    ids, offsets = encode_plain(tokenizer, text)
    assert not {tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>", "<|im_start|>")} & set(ids)
    assert tokenizer.decode(ids) == text
    assert offsets[-1][1] == len(text)


def test_encoding_as_plain_characters_leaves_the_tokenizer_as_it_was(tokenizer):
    before = tokenizer("a<|im_end|>")["input_ids"]
    encode_plain(tokenizer, "a<|im_end|>")
    assert tokenizer("a<|im_end|>")["input_ids"] == before
    assert before[-1] == tokenizer.eos_token_id


def test_a_slow_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(DataError, match=r"tokenizer is 'Slow'.*Expected a fast tokenizer"):
        encode_plain(Slow(), "a")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("<think>\na b\n</think> so 4", "a b"),
        ("<think>a", "a"),
        ("  a  ", "a"),
        ("a</think><answer>4</answer>", "a"),
        ("", ""),
        ("<think></think>4", ""),
    ],
)
def test_a_trace_is_the_reasoning_alone(text, clean):
    assert clean_trace(text) == clean


def test_calculator_marks_go():
    assert strip_calculator_marks("48/2 = <<48/2=24>>24 clips, <<24+48=72>>72") == "48/2 = 24 clips, 72"
