"""Settings of guided GRPO: every field of TRL's `GRPOConfig` works; ours are `guidance_*`, `max_sampled_tokens`,
`rollouts_every`.

TRL's defaults that the method leans on are written out here with the values of TRL 1.16, so that an upgrade cannot move them.
Two differ from TRL on purpose: `gradient_checkpointing` is off (small models need no recomputation) and `logging_steps` is 1
(the run record has a line per step). `save_steps` must keep to whole generation batches (`training/preflight.py`).
"""

from dataclasses import dataclass
from typing import Any

from trl import GRPOConfig

from g2rpo.data.completion import TraceFields, setting, style
from g2rpo.errors import ConfigError, one_of
from g2rpo.io import json_object
from g2rpo.method.advantages import GROUPINGS
from g2rpo.method.controller import UNITS, Controller, Unit
from g2rpo.method.controllers import get_controller
from g2rpo.method.guidance_loss import GUIDANCE_LOSSES, GuidanceLoss
from g2rpo.method.guided_share import guided_count
from g2rpo.method.leak_guard import LEAK_GUARDS
from g2rpo.method.prefix import CUTS
from g2rpo.training.field_values import check_numbers
from g2rpo.training.hints import check_hints
from g2rpo.training.micro_groups import check_micro_groups
from g2rpo.training.second_round import SECOND_ROUNDS, check_second_round

LOSS_TYPES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
"""Those of TRL, which would say only at the first step that it does not know another."""
MISSING_TRACE = ("error", "unguided")
TRACE_SOURCES = ("own", "other")
DEMONSTRATIONS = ("none", "member", "failed_groups")
PLACES = ("answer", "prompt")


@dataclass
class GuidedGRPOConfig(TraceFields, GRPOConfig):
    """`GRPOConfig` with guidance. Fields are documented by their `help` metadata, which `g2rpo fields` prints.

    Raises:
        ConfigError: at construction, for every setting that is wrong by itself or cannot be combined with another one.
    """

    # --- TRL's defaults that we lean on, pinned
    loss_type: str = setting("dapo", "Loss normalisation, see TRL. dapo: token mean over the generation batch.")
    beta: float = setting(0.0, "KL coefficient; 0 loads no reference model. The paper's released recipe uses 0.04.")
    scale_rewards: str = setting("group", "Divide advantages by the std of: group, batch, or none.")
    mask_truncated_completions: bool = setting(False, "Leave completions without EOS out of the loss.")
    remove_unused_columns: bool | None = setting(False, "Must stay off: the trace is a column the model never sees.")
    vllm_importance_sampling_mode: str = setting("sequence_mask", "Correction of vLLM's log-probabilities, see TRL.")
    # --- where we differ from TRL
    gradient_checkpointing: bool | None = setting(None, "Recompute activations to save memory; unset is off (TRL: on).")
    logging_steps: float = setting(1, "Optimizer steps between two lines of the run record.")
    fast: bool = setting(True, "Exact speed-ups in decoding and update; off: TRL's own path, bit for bit.")

    # --- guidance
    guidance_controller: str = setting(
        "adaptive_profile", "Rule for the guidance length: a built-in name or an entry point of g2rpo.controllers."
    )
    guidance_controller_kwargs: dict[str, Any] | str | None = setting(
        None, "Hyperparameters of the rule, as JSON on the command line."
    )
    guidance_ratio: float | None = setting(
        None,
        "alpha: share of each group that may be guided, rounded half up to whole rollouts. Default: a half; with "
        "adaptive_profile three "
        "quarters, or as much less as leaves two rollouts unguided.",
    )
    guidance_unit: str | None = setting(None, "What a length counts: tokens, fraction or steps. Default: the rule's own unit.")
    guidance_place: str = setting(
        "answer", "Where guidance stands: at the beginning of the answer, or as a hint in the prompt, behind the question."
    )
    guidance_instruction: str = setting(
        "This is part of a correct solution:\n\n{hint}\n\nSolve the problem with its help. Write the whole solution.",
        "With guidance_place: prompt, what stands behind the question; {hint} is the part of the trace.",
    )
    guidance_reattach: bool = setting(
        False, "With guidance_place: prompt, train sampled answers on the plain prompt, weighed by the ratio of the two (Guide)."
    )
    guidance_second_round: str = setting(
        "none",
        "Sample first without guidance, and again with it where a group has no success: none, group (the guided group takes the "
        "failed one's place) or member (its least guided success takes one rollout's place).",
    )
    guidance_cut: str = setting(
        "token", "Where a prefix may end: after any token, or at the nearest step, where a reasoning step is complete."
    )
    guidance_loss: str | None = setting(
        None,
        "Guidance tokens in the loss: verified_sft, mask, policy_gradient (paper), sft, luffy, trust_region_sft, chord or "
        "top_entropy. "
        "Default: verified_sft; mask with losses that cannot weigh tokens by themselves (sequence level, luspo, vespo).",
    )
    guidance_loss_coefficient: float | None = setting(
        None,
        "Constant of sft (0.001, weight), verified_sft (1, weight), luffy (0.1), trust_region_sft (0.1), chord (1/9, weight) or "
        "top_entropy (0.2, "
        "share). Default: the paper's.",
    )
    guidance_advantages: str = setting(
        "stratified", "Baseline of a row: joint (paper), stratified by guided/unguided, unguided_baseline or leave_one_out."
    )
    guidance_reward: str | None = setting(
        None, "Reward that drives the rule: a reward's name or index. Default: the only one that is not a format reward."
    )
    guidance_missing_trace: str = setting(
        "error", "Rows without a trace, or many that open with their answer: error, or unguided (train on them without guidance)."
    )
    guidance_trace_source: str = setting(
        "own", "Whose trace guides a problem: its own, or, as a control, that of an other problem."
    )
    guidance_warm_start: bool | None = setting(
        None,
        "Imitate demonstrations (trace and answer), without sampling, while hardly any group has a success: by measurement, "
        "before "
        "and between steps of RL. Default: on with adaptive_profile where beta is 0 and the traces are the problems' own.",
    )
    guidance_demonstrations: str = setting(
        "none",
        "Demonstrations inside steps of RL: none, member (rollouts that are shown the whole trace are whole demonstrations) or "
        "failed_groups (one in each group without a success).",
    )
    guidance_seeded_sampling: bool | None = setting(
        None,
        "Seed each rollout by (seed, step, problem, rollout index), independent of batch and process count. Default: on when "
        "guided and not using vLLM; "
        "off when unguided, to draw what TRL draws. On, decoding is faster: one random number per row, not one per row and "
        "vocabulary entry.",
    )
    reuse_sampler_logprobs: bool = setting(
        False,
        "Take log-probabilities of the old policy from the sampler, under vLLM or where a batch feeds several updates: saves "
        "a forward pass.",
    )
    max_sampled_tokens: int | None = setting(
        None, "Stop after the step in which the run has sampled so many tokens: equal budgets for unequal methods."
    )
    dynamic_sampling_rounds: int = setting(
        1, "Generate again, at most so many times per batch, until no group is without spread in its rewards (DAPO: 10)."
    )
    rollouts_every: int = setting(1, "Write every n-th generation batch to rollouts/*.parquet; 0 writes none.")

    def __post_init__(self) -> None:
        if self.num_generations is not None and self.num_generations < 2:
            raise ConfigError(
                "num_generations",
                self.num_generations,
                expected="at least 2 rollouts per problem",
                then="A group of one has no baseline; set num_generations to 8, say.",
            )
        check_numbers(vars(self))
        super().__post_init__()
        if isinstance(self.guidance_controller_kwargs, str):
            self.guidance_controller_kwargs = json_object(
                "guidance_controller_kwargs", self.guidance_controller_kwargs, example='{"window": 2}'
            )
        one_of("loss_type", self.loss_type, LOSS_TYPES)
        one_of("scale_rewards", self.scale_rewards, ("group", "batch", "none"))
        one_of("guidance_cut", self.guidance_cut, CUTS)
        if self.guidance_loss is None:
            self.guidance_loss = "mask" if self.guidance_place == "prompt" or self.one_advantage_per_row() else "verified_sft"
        one_of("guidance_loss", self.guidance_loss, tuple(GUIDANCE_LOSSES))
        one_of("guidance_advantages", self.guidance_advantages, GROUPINGS)
        one_of("guidance_leak_guard", self.guidance_leak_guard, LEAK_GUARDS)
        one_of("guidance_missing_trace", self.guidance_missing_trace, MISSING_TRACE)
        one_of("guidance_trace_source", self.guidance_trace_source, TRACE_SOURCES)
        one_of("guidance_demonstrations", self.guidance_demonstrations, DEMONSTRATIONS)
        one_of("guidance_place", self.guidance_place, PLACES)
        one_of("guidance_second_round", self.guidance_second_round, SECOND_ROUNDS)
        if self.guidance_unit is not None:
            one_of("guidance_unit", self.guidance_unit, UNITS)
        self._check_dynamic_sampling()
        style(self.guidance_style)
        self._controller = get_controller(self.guidance_controller, **(self.guidance_controller_kwargs or {}))
        if self.guidance_ratio is None:
            self.guidance_ratio = self._controller.default_ratio(self.num_generations)
        if self.guidance_warm_start is None:
            self.guidance_warm_start = self._controller.warm_start and not self.beta and self.guidance_trace_source == "own"
        self._check_combinations()

    @property
    def controller(self) -> Controller:
        """The configured rule."""
        return self._controller

    @property
    def loss_on_guidance(self) -> GuidanceLoss:
        """What the loss does with guidance tokens."""
        return GUIDANCE_LOSSES[self.guidance_loss]

    @property
    def guided(self) -> bool:
        """Whether any rollout is ever guided."""
        return self.guidance_controller != "none" and guided_count(self.guidance_ratio, self.num_generations) > 0

    @property
    def uses_traces(self) -> bool:
        """Whether traces are used at all: as guidance, or as demonstrations in groups that failed without any."""
        return self.guided or self.guidance_demonstrations == "failed_groups"

    @property
    def unit(self) -> Unit:
        """What a guidance length counts."""
        return self.guidance_unit or self.controller.unit

    @property
    def seeded_sampling(self) -> bool:
        if self.guidance_seeded_sampling is None:
            return self.guided and not self.use_vllm and not self.use_transformers_continuous_batching
        return self.guidance_seeded_sampling

    @property
    def optimizer_steps_per_generation(self) -> float:
        """Optimizer steps that one generation batch feeds."""
        return self.steps_per_generation * self.num_iterations / self.gradient_accumulation_steps

    def _check_combinations(self) -> None:
        count = guided_count(self.guidance_ratio, self.num_generations)
        self._check_unit()
        if self.guidance_seeded_sampling and (self.use_vllm or self.use_transformers_continuous_batching):
            raise ConfigError(
                "guidance_seeded_sampling",
                True,
                expected="generation with transformers: vLLM and continuous batching draw their own randomness",
                then="Leave it unset.",
            )
        self._check_reuse()
        check_second_round(self)
        check_hints(self)
        imitates = (self.guidance_warm_start and self.guided) or self.guidance_demonstrations == "failed_groups"
        if imitates and self.beta:
            raise ConfigError(
                "beta",
                self.beta,
                expected="0 with demonstrations: their tokens have no KL term",
                then="Set guidance_warm_start to false and guidance_demonstrations to none, or beta to 0.",
            )
        if not self.guided:
            return
        self.controller.check_group(self.num_generations, count)
        check_micro_groups(self)
        if self.guidance_advantages == "stratified" and 1 in (count, self.num_generations - count):
            raise ConfigError(
                "guidance_advantages",
                "stratified",
                expected=f"at least 2 guided and 2 unguided rollouts per group (or all of one kind); guidance_ratio "
                f"{self.guidance_ratio:g} of {self.num_generations} makes {count} guided",
                then="A stratum of one has no baseline and would never learn. Use joint, or change ratio or group size.",
            )
        if self.guidance_advantages != "joint" and self.multi_objective_aggregation != "sum_then_normalize":
            raise ConfigError(
                "multi_objective_aggregation",
                self.multi_objective_aggregation,
                expected=f"sum_then_normalize with {self.guidance_advantages} advantages",
                then="Set guidance_advantages to joint to normalise each reward by itself.",
            )
        if self.guidance_loss == "policy_gradient" and self.use_vllm and self.off_policy_mask_threshold is not None:
            raise ConfigError(
                "off_policy_mask_threshold",
                self.off_policy_mask_threshold,
                expected="None with guidance tokens in the loss under vLLM: they have no sampling log-probability",
                then="Set guidance_loss to mask, or drop the threshold.",
            )
        self._check_guidance_loss(count)
        if self.remove_unused_columns:
            raise ConfigError(
                "remove_unused_columns", True, expected="False", then="The trace would be dropped before it is used."
            )

    def _check_reuse(self) -> None:
        if not self.reuse_sampler_logprobs:
            return
        if not (self.use_vllm and self.vllm_importance_sampling_correction) and not self.seeded_sampling:
            raise ConfigError(
                "reuse_sampler_logprobs",
                True,
                expected=(
                    "a sampler that tells log-probabilities: vLLM with vllm_importance_sampling_correction, or seeded sampling"
                ),
                then="Set guidance_seeded_sampling to true, or leave reuse_sampler_logprobs out.",
            )
        for name in ("generation_kwargs", "vllm_structured_outputs_regex"):
            if value := getattr(self, name, None):
                raise ConfigError(
                    name,
                    value,
                    expected="it unset with reuse_sampler_logprobs: what shapes the sampling, shapes its probabilities",
                    then=f"Leave {name} or reuse_sampler_logprobs out.",
                )
        # Both samplers tell the probability among the tokens that were left to draw from.
        shaped = {"top_p": (None, 1.0), "top_k": (None, 0, -1), "min_p": (None, 0.0), "repetition_penalty": (None, 1.0)}
        for name, neutral in shaped.items():
            if (value := getattr(self, name)) not in neutral:
                raise ConfigError(
                    name,
                    value,
                    expected=f"{neutral[-1]:g} with reuse_sampler_logprobs: the loss compares with the whole distribution",
                    then=f"Leave {name} or reuse_sampler_logprobs out.",
                )

    def _check_dynamic_sampling(self) -> None:
        rows = self.per_device_train_batch_size * self.steps_per_generation
        if self.dynamic_sampling_rounds > 1 and rows % self.num_generations:
            raise ConfigError(
                "dynamic_sampling_rounds",
                self.dynamic_sampling_rounds,
                expected=f"whole groups in every process: it generates {rows} rows, groups have {self.num_generations}",
                then="Change per_device_train_batch_size or steps_per_generation.",
            )

    def _check_guidance_loss(self, count: int) -> None:
        if self.guidance_advantages == "unguided_baseline" and count == self.num_generations:
            raise ConfigError(
                "guidance_advantages",
                "unguided_baseline",
                expected=f"an unguided rollout in each group; guidance_ratio {self.guidance_ratio:g} guides all {count}",
                then="Lower guidance_ratio, or use joint.",
            )
        value, loss = self.guidance_loss_coefficient, self.loss_on_guidance
        if loss.constant is None and value is not None:
            with_constant = [name for name, known in GUIDANCE_LOSSES.items() if known.constant is not None]
            raise ConfigError(
                "guidance_loss_coefficient",
                value,
                expected=f"it unset: the loss {self.guidance_loss} has none",
                then=f"Leave it out, or set guidance_loss to one of {', '.join(with_constant)}.",
            )
        if loss.weigh is None:
            return
        if value is not None and not (value > 0 and (value <= 1 or loss.constant_is_weight)):
            raise ConfigError(
                "guidance_loss_coefficient",
                value,
                expected="a number above 0" + ("" if loss.constant_is_weight else ", at most 1"),
                then="Leave it unset for the value of the paper.",
            )
        if name := self.one_advantage_per_row():
            raise ConfigError(
                name,
                getattr(self, name),
                expected=f"a value that lets each token have its own weight, as the guidance loss {self.guidance_loss} gives it",
                then="Leave guidance_loss unset, set it to mask or policy_gradient, or change this.",
            )

    def one_advantage_per_row(self) -> str | None:
        """The setting, if any, that looks at one advantage per row and cannot take one per token."""
        if self.loss_type in ("luspo", "vespo"):
            return "loss_type"
        if self.importance_sampling_level == "sequence":
            return "importance_sampling_level"
        return "off_policy_mask_threshold" if self.off_policy_mask_threshold is not None else None

    def _check_unit(self) -> None:
        """A length in the wrong unit is never an error at run time: it silently reveals nothing, or everything."""
        controller = self.controller
        if controller.unit == "fraction" and self.unit != "fraction":
            raise ConfigError(
                "guidance_unit",
                self.guidance_unit,
                expected=f"fraction, the only unit in which the controller {self.guidance_controller!r} plans",
                then="Leave guidance_unit unset.",
            )
        if self.unit == "fraction":
            for name in ("length", "initial_length", "max_length"):
                value = getattr(controller, name, 0)
                if value > 1:
                    raise ConfigError(
                        name,
                        value,
                        expected="a share of the trace in (0, 1], since guidance_unit is fraction",
                        then=f"Set it in guidance_controller_kwargs, for example {{{name!r}: 0.5}}, or count in tokens.",
                    )
