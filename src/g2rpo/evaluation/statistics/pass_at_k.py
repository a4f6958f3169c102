"""pass@k: the chance that at least one of k samples is right, estimated from n samples (Chen et al. 2021, arXiv 2107.03374, eq.
1)."""

from math import comb

from g2rpo.errors import ConfigError


def pass_at_k(right: int, n: int, k: int) -> float:
    """Unbiased estimate of pass@k for one problem:  1 - C(n - c, k) / C(n, k).

    Taking the first k samples is unbiased too, but noisier; `1 - (1 - c/n)^k` is biased low.

    Args:
        right: Right samples c, 0 <= c <= n.
        n: Samples.
        k: At most n.

    Raises:
        ConfigError: k is not in 1 .. n, or c not in 0 .. n.
    """
    if not (1 <= k <= n and 0 <= right <= n):
        raise ConfigError(
            "pass@k",
            {"k": k, "samples": n, "right": right},
            expected="1 <= k <= samples and 0 <= right <= samples",
            then="Draw at least k samples per problem.",
        )
    return 1.0 - comb(n - right, k) / comb(n, k)
