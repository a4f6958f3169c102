"""How completions are drawn: presets by name."""

from dataclasses import dataclass

from g2rpo.errors import ConfigError, nearest


@dataclass(frozen=True)
class Decoding:
    """Temperature 0 is greedy: the most likely token each time. `top_k` 0 and `top_p` 1 leave the distribution whole."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        for name, value, right, expected in (
            ("temperature", self.temperature, self.temperature >= 0, "0 (greedy) or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "a share in (0, 1]"),
            ("top_k", self.top_k, self.top_k >= 0, "0 (off) or a number of tokens"),
        ):
            if not right:
                raise ConfigError(name, value, expected=expected, then="Leave it out for the preset's value.")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


PRESETS = {"greedy": Decoding(), "paper": Decoding(0.6, 0.95, 20)}
"""`paper`: the evaluation of G2RPO-A (arXiv 2508.13023), which is Qwen3's recommendation for thinking mode."""


def decoding(preset: str, *, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None) -> Decoding:
    """A preset, single values replaced."""
    if preset not in PRESETS:
        raise ConfigError("preset", preset, expected="a known decoding preset", then=nearest(preset, list(PRESETS)))
    base = PRESETS[preset]
    return Decoding(
        base.temperature if temperature is None else temperature,
        base.top_p if top_p is None else top_p,
        base.top_k if top_k is None else top_k,
    )
