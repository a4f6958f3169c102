"""Seeds: equal parts give equal seeds, different parts different ones, and no draw depends on what was drawn before."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from g2rpo.seeds import rng, seed_of

LAWS = settings(deadline=None, max_examples=50, derandomize=True)
parts = st.lists(st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\x1f")), max_size=5).map(tuple)


@LAWS
@given(parts, parts)
def test_equal_parts_equal_seeds_and_different_parts_different_ones(a, b):
    assert (seed_of(*a) == seed_of(*b)) == (a == b)


@LAWS
@given(parts, st.randoms())
def test_a_draw_does_not_depend_on_global_randomness(a, noise):
    first = rng(*a).random()
    random.seed(noise.random())
    random.random()
    assert rng(*a).random() == first


@LAWS
@given(st.permutations(range(8)))
def test_a_draw_does_not_depend_on_call_order(order):
    wanted = [rng(0, "a", i).random() for i in range(8)]
    drawn = {i: rng(0, "a", i).random() for i in order}
    assert [drawn[i] for i in range(8)] == wanted


def test_no_two_of_many_seeds_are_equal():
    seeds = {
        seed_of(run, "sample", "train", step, f"k{k}", m)
        for run in range(2)
        for step in range(25)
        for k in range(25)
        for m in range(8)
    }
    assert len(seeds) == 2 * 25 * 25 * 8
