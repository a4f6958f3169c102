"""Guided GRPO on TRL: this file translates; the method is in `g2rpo.method` (in one screen in `method/loop.py`).

It reads in the order of a step of TRL's `GRPOTrainer`:

    1. generation   `rollout_func`: each prompt is followed by its guidance ids, and sampled ids (`continuation.py`)
    2. rewards      `_calculate_rewards`: the gathered rewards are kept for the controller and the statistics
    3. advantages   `_generate_and_score_completions`: regrouped where asked for; the controller takes its step; records
    4. loss         `_compute_loss`: guidance tokens get an advantage of their own where the guidance loss says so
                    (`guidance_weights.py`)

The rollouts of a step travel through 1 to 3 as one value, `self.step_batch`. With the controller `none` no rollout function is
installed, and with `fast` off as well every step is TRL's own, bit for bit. `fast/` computes the same numbers from less work.
"""

import warnings
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOTrainer

from g2rpo.data.trace_assignment import with_other_traces
from g2rpo.errors import ConfigError, G2RPOError, RunError
from g2rpo.method.advantages import group_advantages
from g2rpo.method.guidance_loss import loss_mask
from g2rpo.method.planner import Planner, row_key
from g2rpo.method.rollout import GuidedPrompt
from g2rpo.method.transfer_metrics import transfer_metrics
from g2rpo.models import resolve_model
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.continuation import Continues
from g2rpo.training.demonstrations import Demonstrates
from g2rpo.training.distributed import ChecksLaunch
from g2rpo.training.dynamic_sampling import SamplesAgain
from g2rpo.training.engine.start import engine_checked
from g2rpo.training.fast.sampler_logprobs import ReusesSamplerLogProbs
from g2rpo.training.fast.update import FastUpdate
from g2rpo.training.guidance_weights import WeighsGuidance
from g2rpo.training.held_out_evaluation import EvaluatesHeldOut
from g2rpo.training.hints import HintsInPrompts
from g2rpo.training.micro_groups import SamplesInTurn
from g2rpo.training.run.callbacks import StopAtBudget
from g2rpo.training.run.checkpoint_state import SavesGuidanceState, resumable_in_any_epoch
from g2rpo.training.run.phase_times import PhaseClock
from g2rpo.training.run.preflight import check_data, check_run, check_template
from g2rpo.training.run.primary_reward import infinite_reward, nan_told, primary_reward, reward_fault
from g2rpo.training.second_round import RollsAgain
from g2rpo.training.step_batch import ScoredRound, StepBatch

UNSCORED_BATCHES = 3
"""So many generation batches in a row without one scored rollout stop the run: it cannot learn."""
logger = get_logger(__name__)


class GuidedGRPOTrainer(
    RollsAgain,
    SamplesAgain,
    HintsInPrompts,
    WeighsGuidance,
    Demonstrates,
    SamplesInTurn,
    Continues,
    ReusesSamplerLogProbs,
    FastUpdate,
    EvaluatesHeldOut,
    SavesGuidanceState,
    ChecksLaunch,
    GRPOTrainer,
):
    """TRL's `GRPOTrainer` whose groups are partly guided by ground-truth reasoning traces (arXiv 2508.13023).

    Takes the arguments of `GRPOTrainer`. The training set has, besides `prompt`, the columns named by
    `guidance_trace_column` and `guidance_answer_column`; the others go to the reward functions, as in TRL. Evaluation is
    never guided.

    Raises:
        ConfigError, DataError: before any training, for settings and rows that cannot work; each says what to do.
    """

    _tag_names = ("trl", "grpo", "g2rpo")
    _name = "Guided GRPO"
    _paper = {  # noqa: RUF012  what TRL's model card cites
        "title": "G2RPO-A: Guided Group Relative Policy Optimization with Adaptive Guidance",
        "id": "2508.13023",
        "citation": "Guo, Deng, Cheng, Tang. arXiv:2508.13023, ACL 2026.",
    }

    def __init__(self, model, reward_funcs=None, args: GuidedGRPOConfig | None = None, train_dataset=None, **kwargs: Any):
        if args is None:
            args = GuidedGRPOConfig("guided-grpo")
        if not isinstance(args, GuidedGRPOConfig):
            raise ConfigError(
                "args",
                type(args).__name__,
                expected="a GuidedGRPOConfig",
                then="Write GuidedGRPOConfig(...) where the script says GRPOConfig(...).",
            )
        for name in ("tools", "rollout_func", "environment_factory"):
            if args.guided and kwargs.get(name) is not None:
                raise ConfigError(
                    name,
                    kwargs[name],
                    expected=f"no {name} in a guided run: guidance is spliced where it would act",
                    then="Set guidance_controller to none, or leave it out.",
                )
        if isinstance(model, str):
            model = resolve_model(model)
        if isinstance(train_dataset, list):
            train_dataset = Dataset.from_list(train_dataset)
        self.primary_reward = primary_reward(args, reward_funcs if isinstance(reward_funcs, list) else [reward_funcs])
        if args.uses_traces:
            check_data(train_dataset, args)
            if args.guidance_trace_source == "other":
                train_dataset = with_other_traces(train_dataset, args.guidance_trace_column, args.seed)
        if args.guided:
            kwargs["rollout_func"] = self._guided_rollout
        with engine_checked(args), warnings.catch_warnings():
            # TRL warns that rollout_func is experimental; our contract tests watch it.
            warnings.filterwarnings("ignore", message=".*'rollout_func'.*", category=UserWarning)
            super().__init__(model, reward_funcs, args, train_dataset, **kwargs)
        self.choose_optimizations()
        self.controller = args.controller
        self.controller_state = self.controller.initial()
        self.check_turns()
        self.step_batch = StepBatch([])
        """The rollouts of the round of generation that is under way."""
        self._generations = self._unscored_batches = 0
        self._told_of_nan: set[str] = set()
        self._totals = dict.fromkeys(
            ("tokens/sampled_total", "tokens/imitated_total", "tokens/guidance_total", "tokens/trained_total", "rollouts_total"),
            0.0,
        )
        self.rollout_sinks: list[Any] = []
        """Called after every generation batch with (step, rollouts), on the main process: the run record, for one."""
        if args.max_sampled_tokens is not None:
            self.add_callback(StopAtBudget(lambda: self.spent_tokens, args.max_sampled_tokens))
        self.phases = PhaseClock(self)
        check_template(self.processing_class, next(iter(self.train_dataset), {}).get("prompt"), args.chat_template_kwargs)
        self.planner = self._make_planner() if args.uses_traces else None
        self.data_report = check_run(self)

    def _make_planner(self) -> Planner:
        args: GuidedGRPOConfig = self.args
        planner = Planner(
            controller=self.controller,
            tokenizer=self._tokenizer,
            alpha=args.guidance_ratio,
            group_size=self.num_generations,
            unit=args.unit,
            style_name=args.guidance_style,
            leak_guard=args.guidance_leak_guard,
            cut=args.guidance_cut,
            trace_column=args.guidance_trace_column,
            answer_column=args.guidance_answer_column,
            budget=self.max_completion_length,
            seed=args.seed,
            in_prompt=args.guidance_place == "prompt",
        )
        first = next(iter(self.train_dataset))["prompt"]
        planner.prompt_tail = self._tokenizer.decode(self._tokenize_prompts([first])[0][0])
        return planner

    @property
    def total_generations(self) -> int:
        """Generation batches of the whole run, by its steps or, at the present rate, by its budget of tokens; 0 before it
        starts."""
        if not self.state.max_steps:
            return 0
        batches = max(1, round(self.state.max_steps / self.args.optimizer_steps_per_generation))
        budget, spent = self.args.max_sampled_tokens, self.spent_tokens
        return min(batches, max(1, round(self._generations * budget / spent))) if budget and spent else batches

    @property
    def spent_tokens(self) -> int:
        """Tokens sampled and tokens of demonstrations imitated so far, of all processes and, after a resume, all sessions."""
        return int(self._totals["tokens/sampled_total"]) + self.imitated_tokens

    @property
    def imitated_tokens(self) -> int:
        """Tokens of demonstrations imitated so far."""
        return int(self._totals["tokens/imitated_total"])

    @property
    def trained_tokens(self) -> int:
        """Tokens in the loss so far: sampled ones, and guidance where it is learned from."""
        return int(self._totals["tokens/trained_total"])

    def _get_train_sampler(self, dataset=None):
        return resumable_in_any_epoch(super()._get_train_sampler(dataset))

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        if self.hub_model_id is not None:  # beside a local run it would only say less than manifest.json
            super().create_model_card(*args, **kwargs)

    # ------------------------------------------------------------------ 1. generation

    def _guided_rollout(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout function: prompts come repeated, one per rollout of this process."""
        batch, training = self.step_batch, self.model.training
        guides = training and (self.args.guidance_second_round == "none" or batch.earlier_groups > 0)
        reveal = self.warm_start.reveals(self.warm_start_state) if self.args.guidance_warm_start else None
        prompt_ids, images, fields = self._tokenize_prompts(prompts)

        def begin(i: int, success_so_far: float | None) -> GuidedPrompt:
            row, index = batch.rows[i], self._rollout_index(i)
            if not guides:
                return GuidedPrompt(tuple(prompt_ids[i]), (), 0, row_key(row), index)
            step = self._generations, self.total_generations
            start = self.planner.guided_prompt(row, prompt_ids[i], index, self.controller_state, *step, reveal, success_so_far)
            return self.demonstrated(start, row) if self.args.guidance_demonstrations == "member" else start

        starts, sampled = self.sampled_in_turn(begin, images, fields, guides=guides)
        batch.guided_prompts = starts
        if self.args.guidance_reattach:
            sampled = self.hinted_logprobs_kept(sampled)
        output = {
            "prompt_ids": [list(s.prompt_ids if s.plain_ids is None else s.plain_ids) for s in starts],
            "completion_ids": [list(s.guidance_ids) + ids for s, (ids, _) in zip(starts, sampled, strict=True)],
            "logprobs": None,
        }
        loss = self.args.loss_on_guidance
        if sampled[0][1] is not None:
            # Guidance was not sampled: masked positions may hold anything finite, trained ones must read as unknown.
            unknown = None if loss.trained else 0.0
            output["logprobs"] = [[unknown] * len(s.guidance_ids) + lp for s, (_, lp) in zip(starts, sampled, strict=True)]
        if training and (loss.only_verified or not loss.trained):
            output["env_mask"] = [
                loss_mask(len(s.guidance_ids), len(ids), loss) for s, (ids, _) in zip(starts, sampled, strict=True)
            ]
        return output

    def _rollout_index(self, row: int) -> int:
        """A row's index in its group. The rows of a process may begin inside a group, so it follows the global row."""
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        return (self.accelerator.process_index * len(self.step_batch.rows) + row) % group_size

    # ------------------------------------------------------------------ 2. rewards

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        try:
            with nan_told(self, self._told_of_nan):
                rewards_NF = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        except G2RPOError:
            raise
        except Exception as error:  # whatever a reward function throws is reported with the place it came from
            raise reward_fault(error, inputs[0]) from error
        if self.model.training:
            if fault := infinite_reward(rewards_NF, self.reward_func_names, inputs, self.accelerator.process_index * len(inputs)):
                raise fault
            batch = self.step_batch
            batch.rewards_NF, batch.prompts, batch.completions = rewards_NF, prompts, completions
            batch.completion_ids = completion_ids_list
        return rewards_NF

    # ------------------------------------------------------------------ 3. advantages, records, controller

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            self.step_batch = StepBatch(inputs)
            return super()._generate_and_score_completions(inputs)
        if self.imitates:
            return self.imitation_batch(inputs)
        rounds = []
        rows = inputs
        while rows is not None:
            rounds.append(self._round(rows, sum(len(r.outcomes) for r in rounds) // self.num_generations))
            rows = self.more_rows(rounds)  # dynamic sampling, or a guided second round; None: enough
        self._unscored_batches = self._unscored_batches + 1 if all(o.reward is None for r in rounds for o in r.outcomes) else 0
        if self._unscored_batches == UNSCORED_BATCHES:
            raise RunError(
                "rewards",
                f"{UNSCORED_BATCHES} generation batches without a single scored rollout",
                expected="rewards that can score some of them",
                then="Every reward function returned None or NaN; look at one rollout with g2rpo show.",
            )
        output = self.chosen(rounds)
        self._record(rounds, float(output["num_items_in_batch"]))
        outcomes = [o for r in rounds for o in r.outcomes]
        self.controller_state = self.controller.update(self.controller_state, outcomes)
        if self.args.guidance_warm_start and self.args.guided:
            self.warm_start_state = self.warm_start.after_rollouts(
                self.warm_start_state, outcomes, self.num_generations, lambda: self.demonstrations_are_worthwhile(inputs)
            )
        self._generations += 1
        self.step_batch = StepBatch([])
        return output

    def _round(self, rows: list[dict[str, Any]], earlier_groups: int) -> ScoredRound:
        """One round of generation: rollouts, rewards, advantages."""
        self.step_batch = batch = StepBatch(rows, earlier_groups)
        output = super()._generate_and_score_completions(rows)
        if not batch.guided_prompts:  # TRL generated them
            batch.guided_prompts = [
                GuidedPrompt(tuple(ids[mask.bool()].tolist()), (), 0, row_key(row), self._rollout_index(i))
                for i, (row, ids, mask) in enumerate(zip(rows, output["prompt_ids"], output["prompt_mask"], strict=True))
            ]
        counts = gather_object(batch.counts())
        rewards_N = batch.weighted_rewards(self.reward_weights)
        guided_N = torch.tensor([tokens > 0 for _, _, tokens, *_ in counts], device=rewards_N.device)
        advantages_N = self._advantages(output, rewards_N, guided_N)
        if self.args.uses_traces:
            self.weigh_guidance(output, batch)
        outcomes = batch.outcomes(counts, self.primary_reward, rewards_N, advantages_N)
        if self.args.guidance_demonstrations == "member":
            self.count_imitated(sum(len(p.guidance_ids) for p in batch.guided_prompts if p.whole))
        elif self.args.guidance_demonstrations == "failed_groups":
            self.demonstrate_failed_groups(output, outcomes)
        every, wanted = self.args.rollouts_every, bool(self.rollout_sinks)
        kept = wanted and every and self._generations % every == 0
        names, answer = self.reward_func_names, self.args.guidance_answer_column
        return ScoredRound(output, outcomes, batch.records(gather_object, outcomes, names, answer) if kept else [])

    def _advantages(self, output: dict[str, Any], rewards_N: torch.Tensor, guided_N: torch.Tensor) -> torch.Tensor:
        """Advantages of all processes, shape (N,); `output` gets those of this process. TRL's own are the joint ones."""
        if not self.args.guided or self.args.guidance_advantages == "joint":
            return self.accelerator.gather(output["advantages"])
        advantages_N = group_advantages(
            rewards_N, guided_N, self.num_generations, self.args.guidance_advantages, self.scale_rewards
        )
        output["advantages"] = self._of_this_process(advantages_N, len(output["advantages"]))
        logged = self._logs["advantages"]  # what TRL logged was the joint grouping
        for i, value in enumerate(advantages_N.tolist(), start=len(logged) - len(advantages_N)):
            logged[i] = value
        return advantages_N

    def _of_this_process(self, values_N: torch.Tensor, rows: int) -> torch.Tensor:
        first = self.accelerator.process_index * rows
        return values_N[first : first + rows]

    def tokens_in_loss(self, output: dict[str, Any]) -> torch.Tensor:
        """The number of trained tokens of all processes: what token means divide by."""
        return self.accelerator.gather((output["completion_mask"] * output.get("tool_mask", 1)).sum()).sum()

    def _record(self, rounds: list[ScoredRound], trained: float) -> None:
        """Logs the generation batch, all rounds of it, and hands its rollouts to the sinks."""
        outcomes = [o for r in rounds for o in r.outcomes]
        metrics = transfer_metrics(outcomes, self.num_generations)
        self._totals["tokens/sampled_total"] += metrics["tokens/sampled"]
        self._totals["tokens/guidance_total"] += metrics["tokens/guidance"]
        self._totals["rollouts_total"] += len(outcomes)
        prompts = torch.stack([r.output["prompt_mask"].sum() for r in rounds]).sum()
        metrics["tokens/prefilled"] = self.accelerator.reduce(prompts, reduction="sum").item() + metrics["tokens/guidance"]
        metrics["tokens/trained"] = trained
        metrics["rounds"] = float(len(rounds))
        self._totals["tokens/trained_total"] += trained
        for name, value in metrics.items():
            self._metrics["train"][f"guidance/{name}"].append(value)
        for name, value in self._totals.items():
            self._metrics["train"][f"guidance/{name}"] = [value]  # a running count, not to be averaged over a log window
        records = [record for r in rounds for record in r.records]
        if records and self.accelerator.is_main_process:
            for sink in self.rollout_sinks:
                sink(self._generations, records)

    # ------------------------------------------------------------------ 4. loss

    def _compute_loss(self, model, inputs):
        loss = super()._compute_loss(model, dict(inputs))
        if not torch.isfinite(loss):
            raise RunError(
                f"loss at step {self.state.global_step + 1}",
                loss.item(),
                expected="a finite number",
                then="Lower the learning rate or max_grad_norm, or set bf16 instead of fp16; resume from the last checkpoint.",
            )
        return loss
