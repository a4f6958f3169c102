"""From what was measured to one recommendation, by the rules that training itself follows (`method/warm_start.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from g2rpo.data.completion import STYLES
from g2rpo.training.doctor.probe import MARK, PLAIN, STEPS, WHOLE, Level, Probe, marker_of
from g2rpo.training.doctor.setup_checks import Finding

TOO_EASY = 0.9
OWN_NOTATION = 5.0
"""Perplexity of the traces below which the model could have written them."""
ENOUGH = 1 / 2
"""Share of groups with a success from which on guidance has something to work with."""
UNLIKE = 0.05
"""Log-probabilities of sampler and trainer may differ by so many nats: more than rounding in bfloat16 does."""
MARKERS = {name: marker_of(name) for name in STYLES}


@dataclass(frozen=True)
class Advice:
    """One recommendation and the figure behind it."""

    move: str
    """mend the set-up first, plain GRPO, guide, or imitate first."""
    why: str
    how: str
    """What to run."""


def findings(probe: Probe) -> list[Finding]:
    """What the measurement shows to be wrong, or good to know, in the order in which it should be read."""
    return [
        found
        for found in (_log_probabilities(probe), _marker(probe), _easy(probe), _ends(probe), _cut(probe), _traces(probe))
        if found
    ]


def advise(probe: Probe, found: Sequence[Finding]) -> Advice:
    """What to do first.

    Groups teach where they have successes and failures: where half of the plain ones do, plain GRPO learns. Traces in the model's
    own notation that lead to their answers are imitated: in our comparisons that was ahead of guidance or level with it
    (docs/results.md), and guidance far ahead on traces in another notation. Guidance has something to work with where half of the
    groups have a success from some prefix that training may reveal; where they have none, the default preset imitates, too.
    """
    if faults := [f for f in found if f.fault]:
        return Advice("mend the set-up first", f"{faults[0].name}: {faults[0].what}", faults[0].then)
    plain = probe.level(PLAIN)
    if plain.spread >= ENOUGH:
        return Advice("plain GRPO", f"{_groups(plain)} without help", "preset: grpo. The default preset gives as little help.")
    guided = [level for level in probe.guarded if level.name != PLAIN]
    if not guided:
        return Advice(
            "imitate first",
            f"{_groups(plain)}, and there is no trace to guide by",
            "Give the problems traces, or easier problems.",
        )
    best = max(guided, key=lambda level: (level.succeeded >= ENOUGH, level.spread, level.succeeded))
    own = probe.perplexity < OWN_NOTATION
    if own and _lead(probe):
        return Advice(
            "imitate first",
            f"the perplexity of the traces is {probe.perplexity:.3g}: the model's own notation; {probe.level(WHOLE).rate:.0%} of "
            f"the samples from whole traces are right, {plain.rate:.0%} of the plain ones",
            "g2rpo sft, then g2rpo train on its result (or preset: g2rpo alone, where skills must not be forgotten).",
        )
    if best.succeeded >= ENOUGH or own:
        cut = ", guidance_cut: step" if best.name == STEPS else ""
        return Advice(
            "guide",
            f"{_groups(best)} from {best.name} of what may be revealed, {plain.spread:.0%} of the plain ones; the perplexity of "
            f"the traces is {probe.perplexity:.3g}",
            f"preset: g2rpo{cut}.",
        )
    return Advice(
        "imitate first",
        f"at most {max(level.succeeded for level in guided):.0%} of the groups have a success from any prefix that the leak "
        f"guard allows; the perplexity of the traces is {probe.perplexity:.3g}",
        "preset: g2rpo, whose warm start imitates until groups succeed, or g2rpo sft and then g2rpo train on its result.",
    )


def _lead(probe: Probe) -> bool:
    """Whether half of the groups have a success where most of the trace is shown."""
    shown = [probe.level(name) for name in ("longest", STEPS, WHOLE)]
    return max(level.succeeded for level in shown if level is not None) >= ENOUGH


def _groups(level: Level) -> str:
    return f"{level.spread:.0%} of {len(level.groups)} groups of {level.group_size} have successes and failures"


def _log_probabilities(probe: Probe) -> Finding | None:
    if probe.logprob_gap is None or probe.logprob_gap <= UNLIKE:
        return None
    return Finding(
        "log-probabilities",
        f"the sampler's and those of a forward pass differ by up to {probe.logprob_gap:.3g} nats on the same tokens",
        "Set fast: false and look again; if it stays, load the model in float32 or with another attn_implementation.",
    )


def _marker(probe: Probe) -> Finding | None:
    """Answers by another marker than the style's: then prefixes lead where the model does not go."""
    plain = probe.level(PLAIN)
    marked = {name: count for name, count in plain.markers.items() if name in MARKERS.values()}
    if probe.style_marker is None or not marked or sum(marked.values()) < len(plain.right) / 4:
        return None
    usual = max(marked, key=marked.__getitem__)
    if usual == probe.style_marker or marked[usual] < sum(marked.values()) / 2:
        return None
    fitting = " or ".join(name for name, marker in MARKERS.items() if marker == usual)
    return Finding(
        "style",
        f"of {sum(marked.values())} marked answers that the model writes by itself, {marked[usual]} are marked by {usual}; "
        f"guidance_style marks them by {probe.style_marker}",
        f"Set guidance_style to {fitting}, or ask for the other form in the instruction.",
    )


def _easy(probe: Probe) -> Finding | None:
    plain = probe.level(PLAIN)
    if plain.rate < TOO_EASY:
        return None
    return Finding(
        "problems", f"the model solves {plain.rate:.0%} of them without help", "Take harder problems: nothing is left to learn."
    )


def _ends(probe: Probe) -> Finding | None:
    plain = probe.level(PLAIN)
    if too_long := sum(tokens > probe.budget for tokens in probe.demonstrations):
        return Finding(
            "length",
            f"{too_long} of {len(probe.demonstrations)} traces do not fit with their answer into max_completion_length "
            f"{probe.budget}; the longest takes {max(probe.demonstrations)}",
            "Raise max_completion_length, or drop long traces: a rollout that is shown most of one cannot answer.",
            fault=too_long >= len(probe.demonstrations) / 2,
        )
    if plain.unended < len(plain.right) / 2:
        return None
    return Finding(
        "length",
        f"{plain.unended} of {len(plain.right)} plain samples do not end within {probe.budget} tokens",
        "Raise max_completion_length where the model thinks longer than the traces, or imitate first: it learns where to end.",
        fault=False,
    )


def _cut(probe: Probe) -> Finding | None:
    """Prefixes that end within a step of a foreign notation lead nowhere."""
    steps, longest = probe.level(STEPS), probe.level("longest")
    if steps is None or not steps.succeeded >= ENOUGH > longest.succeeded:
        return None
    return Finding(
        "cut",
        f"groups with a success: {steps.succeeded:.0%} from prefixes of whole steps, {longest.succeeded:.0%} from ones that end "
        "anywhere",
        "Set guidance_cut to step.",
        fault=False,
    )


def _traces(probe: Probe) -> Finding | None:
    """Where not even most of a trace leads to its answer: because of the form of the answer, of the trace, or of its notation."""
    hidden = sum(tokens > probe.budget for tokens in probe.demonstrations) >= len(probe.demonstrations) / 2
    if probe.level(WHOLE) is None or hidden or _lead(probe):
        return None
    whole, mark = probe.level(WHOLE), probe.level(MARK)
    rates = (
        f"{probe.level('longest').rate:.0%} succeed from the longest prefix, {whole.rate:.0%} from the whole trace, "
        f"{mark.rate:.0%} with the answer's mark given; perplexity {probe.perplexity:.3g}"
    )
    if mark.rate >= ENOUGH:
        return Finding(
            "form",
            f"the model lacks the form of an answer, not its value: {rates}",
            "Imitate first: a few demonstrations teach the form.",
            fault=False,
        )
    if probe.perplexity < OWN_NOTATION:
        return Finding(
            "traces",
            f"they are in the model's own notation and do not lead to their answers: {rates}",
            "They may stop short, or be wrong: look at some (g2rpo data show). Imitation would teach answers without the steps.",
            fault=False,
        )
    return Finding(
        "traces",
        f"the model cannot continue them: {rates}",
        "Imitate first if the model is to write like them. Otherwise take traces that it can read: g2rpo harvest collects its "
        "own, g2rpo data traces --pick likeliest chooses among several.",
        fault=False,
    )
