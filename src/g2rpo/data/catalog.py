"""Data sets by short name: where they are on the hub, how their rows are read, and what a local copy is called.
`load_named` in `load.py` turns an entry into problems.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from g2rpo.errors import ConfigError, nearest


@dataclass(frozen=True)
class KnownSet:
    """One data set. A local copy is `FOLDER/<name>/<split>.jsonl` (or any other format), or one of `files` in `FOLDER/<name>`."""

    source: str
    hub: str
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: {"train": "train"})
    """Our split to the hub's. What people evaluate on is `test` with us, whatever it is called there."""
    copies: tuple[str, ...] = ()
    """Other hub names whose rows the same source reads."""
    files: tuple[str, ...] = ()
    """Names of a local file that holds all splits or the only one."""

    @property
    def default_split(self) -> str:
        """`test` where there is one."""
        return "test" if "test" in self.splits else next(iter(self.splits))


_TRAIN, _TEST = {"train": "train"}, {"test": "test"}
_BOTH = {"train": "train", "test": "test"}

CATALOG: dict[str, KnownSet] = {
    "gsm8k": KnownSet("gsm8k", "openai/gsm8k", "main", _BOTH),
    "math": KnownSet(
        "math", "DigitalLearningGmbH/MATH-lighteval", None, _BOTH, ("EleutherAI/hendrycks_math", "nlile/hendrycks-MATH-benchmark")
    ),
    "math500": KnownSet("math", "HuggingFaceH4/MATH-500", None, _TEST),
    "openr1": KnownSet("openr1", "open-r1/OpenR1-Math-220k", "default", _TRAIN),
    "math_curriculum": KnownSet("math_curriculum", "G2RPO-A/Math-Curriculum-1K", None, _TRAIN),
    "code_cot": KnownSet("code_cot", "G2RPO-A/Code-CoT", None, _TRAIN),
    "verifiable_coding": KnownSet(
        "verifiable_coding",
        "open-r1/verifiable-coding-problems-python",
        None,
        _TRAIN,
        ("open-r1/verifiable-coding-problems-python-10k", "open-r1/verifiable-coding-problems-python_decontaminated"),
    ),
    "s1k": KnownSet("s1k", "simplescaling/s1K-1.1", None, _TRAIN),
    "deepmath": KnownSet("deepmath", "zwhe99/DeepMath-103K", None, _TRAIN),
    "minerva": KnownSet("minerva", "math-ai/minervamath", None, _TEST),
    "gpqa": KnownSet("gpqa", "Idavidrein/gpqa", "gpqa_diamond", {"test": "train"}, (), ("gpqa_diamond.csv",)),
    "aime24": KnownSet("aime", "HuggingFaceH4/aime_2024", None, {"test": "train"}, ("Maxwell-Jia/AIME_2024", "math-ai/aime24")),
    "aime25": KnownSet("aime", "math-ai/aime25", None, _TEST, ("opencompass/AIME2025", "yentinglin/aime_2025")),
    "amc": KnownSet("amc", "AI-MO/aimo-validation-amc", None, {"test": "train"}, ("math-ai/amc23",)),
    "humaneval": KnownSet("humaneval", "openai/openai_humaneval", None, _TEST, (), ("HumanEval.jsonl.gz", "HumanEval.jsonl")),
    "humanevalplus": KnownSet(
        "evalplus", "evalplus/humanevalplus", None, _TEST, (), ("HumanEvalPlus.jsonl.gz", "HumanEvalPlus.jsonl")
    ),
    "mbpp": KnownSet(
        "mbpp",
        "google-research-datasets/mbpp",
        "full",
        {s: s for s in ("train", "test", "validation", "prompt")},
        (),
        ("mbpp.jsonl",),
    ),
    "mbppplus": KnownSet("evalplus", "evalplus/mbppplus", None, _TEST, (), ("MbppPlus.jsonl.gz", "MbppPlus.jsonl")),
    "livecodebench": KnownSet(
        "livecodebench", "livecodebench/code_generation_lite", None, _TEST, ("lighteval/code_generation_lite",)
    ),
}


def known(name: str) -> KnownSet:
    """The entry of a short name.

    Raises:
        ConfigError: nobody knows the name; names the nearest.
    """
    if name not in CATALOG:
        raise ConfigError("data set", name, expected="a known data set", then=nearest(name, list(CATALOG)))
    return CATALOG[name]


def source_of(hub: str) -> str | None:
    """How the rows of a hub name are read, where we know; by its columns otherwise."""
    return next((entry.source for entry in CATALOG.values() if hub in (entry.hub, *entry.copies)), None)
