"""Which problems have a trace: what an experiment varies to see where guidance and imitation are weak."""

import dataclasses
from collections.abc import Sequence

from g2rpo.errors import ConfigError
from g2rpo.seeds import seed_of
from g2rpo.types import Problem


def keep_traces(problems: Sequence[Problem], count: int) -> list[Problem]:
    """The same problems in the same order; all but `count` have lost their trace and keep their answer.

    Which ones is decided by their keys alone: the 16 that keep theirs are among the 128 that do.

    Raises:
        ConfigError: `count` is not positive, or there are fewer traces than that.
    """
    having = sorted((p.key for p in problems if p.trace), key=lambda key: seed_of("keeps its trace", key))
    if not 1 <= count <= len(having):
        raise ConfigError("trace_limit", count, expected=f"1 to {len(having)}, the problems that have a trace",
                          then="Leave it unset to keep all, or set guidance_controller to none to use none.")  # fmt: skip
    kept = set(having[:count])
    return [p if p.key in kept else dataclasses.replace(p, trace=None, traces=(), trace_answer=None) for p in problems]
