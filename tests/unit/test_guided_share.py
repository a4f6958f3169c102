"""How many members of a group are guided: alpha * G, rounded half up."""

import pytest

from g2rpo.errors import ConfigError
from g2rpo.method.controllers.adaptive_profile import AdaptiveProfile
from g2rpo.method.controllers.profile import Profile
from g2rpo.method.guided_share import guided_count, nearest_strata

TABLE = [
    (0, 8, 0),
    (1, 8, 8),
    (1, 2, 2),
    (0.5, 2, 1),
    (0.5, 8, 4),
    (0.5, 3, 2),
    (0.5, 5, 3),
    (0.5, 7, 4),
    (0.25, 10, 3),
    (0.75, 10, 8),  # halves go up
    (1 / 6, 12, 2),
    (1 / 6, 10, 2),
    (5 / 6, 12, 10),
    (5 / 6, 10, 8),  # 1.67 -> 2, 8.33 -> 8
    (0.25, 2, 1),
    (1 / 3, 3, 1),
    (2 / 3, 3, 2),
    (0.1, 10, 1),
    (0.7, 10, 7),
    (0.05, 10, 1),
    (0.3, 5, 2),
]


@pytest.mark.parametrize(("alpha", "group_size", "count"), TABLE)
def test_guided_count(alpha, group_size, count):
    assert guided_count(alpha, group_size) == count


@pytest.mark.parametrize(("alpha", "group_size"), [(0.06, 8), (0.01, 10), (0.24, 2)])
def test_an_alpha_that_rounds_to_nobody_is_refused_and_says_what_would_do(alpha, group_size):
    with pytest.raises(ConfigError, match=f"Expected at least {0.5 / group_size:g}, or 0.*rounds to no guided rollout"):
        guided_count(alpha, group_size)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf"), "0.5", None])
def test_an_alpha_outside_0_and_1_is_refused(alpha):
    with pytest.raises(ConfigError, match=r"guidance_ratio is .*Expected a share of the group in \[0, 1\]"):
        guided_count(alpha, 8)


@pytest.mark.parametrize(
    ("wanted", "guidable", "group_size", "count"),
    [
        (0, 8, 8, 0),
        (0.9, 8, 8, 0),
        (1, 8, 8, 0),
        (1.1, 8, 8, 2),
        (3.4, 8, 8, 3),
        (6.9, 8, 8, 6),
        (7.0, 8, 8, 6),
        (7.6, 8, 8, 8),
        (8, 4, 8, 4),
        (5, 1, 8, 0),
        (2, 2, 2, 2),
        (1, 2, 2, 0),
        (1.6, 3, 3, 3),
        (2, 2, 3, 0),
        (2, 3, 4, 2),
    ],
)
def test_no_stratum_is_ever_one_row(wanted, guidable, group_size, count):
    assert nearest_strata(wanted, guidable, group_size) == count


@pytest.mark.parametrize(("group_size", "count"), [(4, 2), (5, 3), (6, 4), (7, 5), (8, 6), (10, 7), (12, 9), (16, 12)])
def test_an_unset_ratio_of_an_adaptive_share_leaves_whole_strata(group_size, count):
    assert guided_count(AdaptiveProfile().default_ratio(group_size), group_size) == count
    assert min(count, group_size - count) >= 2
    assert Profile().default_ratio(group_size) == 0.5
