"""Guided GRPO on TRL: this file translates, the method is in `guidance/` and `algo/` (and in one screen in `loop.py`).

What it does to a step of TRL's `GRPOTrainer`, in the order of the step:

    rollout_func                       prompts get their guidance ids; the sampler continues them (`_guided_rollout`)
    _calculate_rewards                 the gathered rewards are kept for the controller and the statistics
    _generate_and_score_completions    advantages are regrouped if asked for; outcomes go to the record and the controller
    _prepare_inputs, _compute_loss     the same gradient from less work (`fast_update.py`)

With the controller `none` no rollout function is installed, and with `fast` off as well every step is TRL's own, bit for bit.
"""

import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch
from accelerate.logging import get_logger
from accelerate.utils import gather_object
from datasets import Dataset
from trl import GRPOTrainer
from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from g2rpo.method.advantages import group_advantages
from g2rpo.method.guidance_loss import COEFFICIENTS, loss_mask, token_advantages, verified
from g2rpo.method.transfer_metrics import transfer_metrics
from g2rpo.models import resolve_model
from g2rpo.data.trace_assignment import with_other_traces
from g2rpo.errors import ConfigError, G2RPOError, RunError
from g2rpo.sampling.sample import sample_rows
from g2rpo.method.planner import Planner, row_key
from g2rpo.seeds import seed_of
from g2rpo.training.run.budget import StopAtBudget
from g2rpo.training.config import GuidedGRPOConfig
from g2rpo.training.dynamic_sampling import assemble, choose, has_spread, more_problems
from g2rpo.training.run.epoch_order import ResumesInAnyEpoch
from g2rpo.training.fast.update import FastUpdate
from g2rpo.training.run.checkpoint_state import SavesGuidanceState
from g2rpo.training.held_out_evaluation import EvaluatesHeldOut
from g2rpo.training.run.phase_times import PhaseClock
from g2rpo.training.run.preflight import check_data, check_run, check_template, driving_reward
from g2rpo.training.run.run_directory import NoLocalCard
from g2rpo.training.fast.sampler_logprobs import ReusesSamplerLogProbs
from g2rpo.method.rollout import GuidedPrompt, Outcome

UNSCORED_BATCHES = 3
"""So many generation batches in a row without one scored rollout stop the run: it cannot learn."""
logger = get_logger(__name__)


class GuidedGRPOTrainer(
    ReusesSamplerLogProbs, FastUpdate, EvaluatesHeldOut, SavesGuidanceState, ResumesInAnyEpoch, NoLocalCard, GRPOTrainer
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
            raise ConfigError("args", type(args).__name__, expected="a GuidedGRPOConfig",
                              then="Write GuidedGRPOConfig(...) where the script says GRPOConfig(...).")  # fmt: skip
        for name in ("tools", "rollout_func", "environment_factory"):
            if args.guided and kwargs.get(name) is not None:
                raise ConfigError(name, kwargs[name], expected=f"no {name} in a guided run: guidance is spliced where it would act",
                                  then="Set guidance_controller to none, or leave it out.")  # fmt: skip
        if isinstance(model, str):
            model = resolve_model(model)
        if isinstance(train_dataset, list):
            train_dataset = Dataset.from_list(train_dataset)
        funcs = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        self._driver = driving_reward(args, funcs)
        if args.guided:
            check_data(train_dataset, args)
            if args.guidance_trace_source == "other":
                train_dataset = with_other_traces(train_dataset, args.guidance_trace_column, args.seed)
            kwargs["rollout_func"] = self._guided_rollout
        with warnings.catch_warnings():
            # TRL warns that rollout_func is experimental; our contract tests watch it.
            warnings.filterwarnings("ignore", message=".*'rollout_func'.*", category=UserWarning)
            super().__init__(model, reward_funcs, args, train_dataset, **kwargs)
        self.choose_levers()
        self.controller = args.controller()
        self.controller_state = self.controller.initial()
        self._generations = self._unscored_batches = 0
        self._totals = dict.fromkeys(
            ("tokens/sampled_total", "tokens/guidance_total", "tokens/trained_total", "rollouts_total"), 0.0
        )
        self._rows: list[dict] = []
        self._in_loss: dict[str, Any] | None = None
        self._round = 0
        self._starts: list[GuidedPrompt] | None = None
        self._scored: dict[str, Any] = {}
        self.rollout_sinks: list[Any] = []
        """Called after every generation batch with (step, rollouts), on the main process: the run record, for one."""
        if args.max_sampled_tokens is not None:
            self.add_callback(StopAtBudget(lambda: self.sampled_tokens, args.max_sampled_tokens))
        self.phases = PhaseClock(self)
        check_template(self.processing_class, next(iter(self.train_dataset), {}).get("prompt"), args.chat_template_kwargs)
        self.planner = self._make_planner() if args.guided else None
        self.data_report = check_run(self)

    def _make_planner(self) -> Planner:
        args: GuidedGRPOConfig = self.args
        planner = Planner(
            controller=self.controller, tokenizer=self._tokenizer, alpha=args.guidance_ratio,
            group_size=self.num_generations, unit=args.unit, style_name=args.guidance_style,
            leak_guard=args.guidance_leak_guard, cut=args.guidance_cut, trace_column=args.guidance_trace_column,
            answer_column=args.guidance_answer_column, budget=self.max_completion_length, seed=args.seed,
        )  # fmt: skip
        first = next(iter(self.train_dataset))["prompt"]
        planner.prompt_tail = self._tokenizer.decode(self._tokenize_prompts([first])[0][0])
        return planner

    # ------------------------------------------------------------------ generation

    @property
    def total_generations(self) -> int:
        """Generation batches of the whole run, by its steps or, at the present rate, by its budget of tokens; 0 before it starts."""
        if not self.state.max_steps:
            return 0
        batches = max(1, round(self.state.max_steps / self.args.optimizer_steps_per_generation))
        budget, sampled = self.args.max_sampled_tokens, self._totals["tokens/sampled_total"]
        return min(batches, max(1, round(self._generations * budget / sampled))) if budget and sampled else batches

    @property
    def sampled_tokens(self) -> int:
        """Tokens sampled so far, all processes and, after a resume, all sessions."""
        return int(self._totals["tokens/sampled_total"])

    @property
    def trained_tokens(self) -> int:
        """Tokens in the loss so far: sampled ones, and guidance where it is learned from."""
        return int(self._totals["tokens/trained_total"])

    def _member(self, row: int, rows: int, group_size: int) -> int:
        # A rank's slice may begin inside a group: slots follow the global index.
        return (self.accelerator.process_index * rows + row) % group_size

    def _guided_rollout(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's rollout function: prompts come repeated, one per rollout of this process."""
        training = self.model.training
        prompt_ids, images, fields = self._tokenize_prompts(prompts)
        group_size = self.num_generations if training else self.num_generations_eval
        starts = []
        for i, ids in enumerate(prompt_ids):
            member = self._member(i, len(prompts), group_size)
            row = self._rows[i]
            if training:
                start = self.planner.start(row, ids, member, self.controller_state, self._generations, self.total_generations)
            else:
                start = GuidedPrompt(tuple(ids), (), 0, row_key(row), member)
            starts.append(start)
        sampled = self._continue(starts, images, fields, training)
        self._starts = starts
        output = {
            "prompt_ids": [list(s.prompt_ids) for s in starts],
            "completion_ids": [list(s.guidance_ids) + ids for s, (ids, _) in zip(starts, sampled, strict=True)],
            "logprobs": None,
        }
        if sampled[0][1] is not None:
            # Guidance was not sampled: masked positions may hold anything finite, trained ones must read as unknown.
            unknown = 0.0 if self.args.guidance_loss == "mask" else None
            output["logprobs"] = [[unknown] * len(s.guidance_ids) + lp for s, (_, lp) in zip(starts, sampled, strict=True)]
        if training and self.args.guidance_loss in ("mask", "verified_sft"):
            output["env_mask"] = [
                loss_mask(len(s.guidance_ids), len(ids), self.args.guidance_loss)
                for s, (ids, _) in zip(starts, sampled, strict=True)
            ]
        return output

    def _continue(self, starts: list[GuidedPrompt], images, fields, training: bool) -> list[tuple[list[int], list[float] | None]]:
        """Sampled ids (and the sampler's log-probabilities, of an engine of its own or where they are wanted) for each start."""
        prompts = [list(s.prompt_ids + s.guidance_ids) for s in starts]
        budgets = [self.max_completion_length - len(s.guidance_ids) for s in starts]
        if self.use_vllm or self.use_transformers_continuous_batching or images is not None:
            # num_generations=1: in server mode vLLM would otherwise give the whole group the first row's prefix.
            ids, logprobs = self._generate_single_turn(prompts, images, fields, num_generations=1)
            return [
                (x[:b], None if logprobs is None else logprobs[i][:b]) for i, (x, b) in enumerate(zip(ids, budgets, strict=True))
            ]
        return self._sample(prompts, budgets, self._seeds(training), [s.guidance_ids for s in starts])

    def _seeds(self, training: bool) -> list[int] | None:
        """One per row of this process: its own randomness, whatever the batch and the number of processes. None: torch's generator."""
        if not self.args.seeded_sampling:
            return None
        phase = ("train", self._generations) if training else ("eval", self.state.global_step)
        group_size = self.num_generations if training else self.num_generations_eval
        count = len(self._rows)
        first = self.accelerator.process_index * count
        before = self._round * count * self.accelerator.num_processes // group_size  # groups of earlier rounds
        # The group's place in the batch, too: a problem that is drawn twice must not get the same rollouts twice.
        return [
            seed_of(
                self.args.seed,
                "sample",
                *phase,
                row_key(row),
                self._member(i, count, group_size),
                before + (first + i) // group_size,
            )
            for i, row in enumerate(self._rows)
        ]

    def _sample(
        self, prompts: list[list[int]], budgets: list[int], seeds: list[int] | None, given: list[tuple[int, ...]] | None = None
    ) -> list[tuple[list[int], list[float] | None]]:
        """Ids per row, and their log-probabilities where they are wanted; `given` are the ids that stand before each, for rewards that can grade ahead."""
        with (
            profiling_context(self, "transformers.generate"),
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                generation_kwargs=self.generation_kwargs,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            rows = sample_rows(
                model, prompts, budgets, self.generation_config, eos_ids=self.eos_token_ids,
                pad_id=self._tokenizer.pad_token_id, seeds=seeds, fast=self.args.fast,
                finished=self._grader_ahead(given or [()] * len(prompts)),
            )  # fmt: skip
        return [(row.ids, row.logprobs if self.args.reuse_sampler_logprobs else None) for row in rows]

    def _grader_ahead(self, given: list[tuple[int, ...]]) -> Callable[[int, list[int]], None] | None:
        """Tells rewards that can grade ahead of each row as it ends; None where what they are asked later would be something else."""
        graders = [f for f in self.reward_funcs if hasattr(f, "ahead")]
        parsed = getattr(self._tokenizer, "response_schema", None) or getattr(self._tokenizer, "response_template", None)
        if not graders or not self.model.training or self.tools or parsed or len(given) != len(self._rows):
            return None

        def grade_ahead(row: int, ids: list[int]) -> None:
            text = self._tokenizer.decode([*given[row], *ids], skip_special_tokens=True)
            columns = {
                name: cell for name, cell in self._rows[row].items() if name not in ("prompt", "completion", "completion_ids")
            }
            for grader in list(graders):
                try:
                    grader.ahead(text, **columns)
                except Exception:  # the reward itself will say what is wrong
                    graders.remove(grader)

        return grade_ahead

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        """The engines are TRL's; where it would call `generate`, our loop draws the same tokens from the same generator, unless rows have
        seeds of their own."""
        engine = self.use_vllm or self.use_transformers_continuous_batching
        # Whoever sets an end, a length or a stop of their own gets what TRL makes of it.
        trls_own = not self.args.seeded_sampling and (not self.args.fast or self.args.generation_kwargs)
        if engine or trls_own or images is not None or multimodal_fields:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        rows = self._sample(prompt_ids, [self.max_completion_length] * len(prompt_ids), self._seeds(self.model.training))
        ids, logprobs = map(list, zip(*rows, strict=True))
        return ids, None if logprobs[0] is None else logprobs

    # ------------------------------------------------------------------ rewards, advantages, controller

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        try:
            rewards_per_func = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        except G2RPOError:
            raise
        except Exception as error:  # whatever a reward function throws is told with the place it came from
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise RunError("a reward function", f"{type(error).__name__}: {error}", expected="one number or None per completion",
                           then=f"It comes from {place.filename}, line {place.lineno}; rewards: {', '.join(self.reward_func_names)}.") from error  # fmt: skip
        if self.model.training:
            if torch.isinf(rewards_per_func).any():
                names = [n for n, bad in zip(self.reward_func_names, torch.isinf(rewards_per_func).any(0), strict=True) if bad]
                raise RunError(f"reward {names[0]!r}", float("inf"), expected="finite numbers, or None for a rollout it cannot score",
                               then="Mend the reward function; one infinite reward makes every advantage of its group NaN.")  # fmt: skip
            self._scored = {
                "rewards": rewards_per_func,
                "completions": completions,
                "prompts": prompts,
                "ids": completion_ids_list,
            }
        return rewards_per_func

    def _generate_and_score_completions(self, inputs):
        if not self.model.training:
            self._rows, self._starts = inputs, None
            output = super()._generate_and_score_completions(inputs)
            self._rows = []
            return output
        outputs, outcomes, rollouts, spread = [], [], [], []
        for number in range(self.args.dynamic_sampling_rounds):
            self._round = number
            self._rows, self._starts = self._more_rows(len(inputs)) if number else inputs, None
            output = super()._generate_and_score_completions(self._rows)
            starts, sampled = self._close_round(output)
            outputs.append(output)
            outcomes += sampled
            rollouts += self._rollouts(sampled, starts)
            if self.args.dynamic_sampling_rounds > 1:
                spread.append(self._spread(sampled, len(inputs)))
                if self._enough(spread):
                    break
        if len(outputs) > 1:
            output = assemble(outputs, choose(spread), self.num_generations, self._tokenizer.pad_token_id)
            trained = output["completion_mask"] * output.get("tool_mask", 1)
            output["num_items_in_batch"] = self.accelerator.gather(trained.sum()).sum()
        self._close_generation(outcomes, outputs, output["num_items_in_batch"], rollouts)
        self._rows, self._starts, self._scored, self._round = [], None, {}, 0
        return output

    def _more_rows(self, count: int) -> list[dict[str, Any]]:
        """Rows of this process for a further round of dynamic sampling."""
        indices = more_problems(
            count, self.num_generations, self.accelerator.process_index, self.accelerator.num_processes, len(self.train_dataset),
            self.args.seed, self._generations, self._round,
        )  # fmt: skip
        return [self.train_dataset[i] for i in indices]

    def _spread(self, outcomes: list[Outcome], count: int) -> list[bool]:
        rewards = torch.tensor([torch.nan if o.reward is None else o.reward for o in outcomes])
        first = self.accelerator.process_index * count
        return has_spread(rewards[first : first + count], self.num_generations)

    def _enough(self, spread: list[list[bool]]) -> bool:
        """Whether every process has all its groups; the same answer everywhere."""
        mine = sum(map(sum, spread)) >= len(spread[0])
        return bool(self.accelerator.gather(torch.tensor([mine], device=self.accelerator.device)).all())

    def _close_round(self, output: dict[str, Any]) -> tuple[list[GuidedPrompt], list[Outcome]]:
        """Regroups advantages; the starts of this process and the outcomes of all, in group order."""
        group_size = self.num_generations
        rewards_per_func = self._scored["rewards"]
        starts = self._starts or [
            GuidedPrompt(tuple(ids[mask.bool()].tolist()), (), 0, row_key(row), self._member(i, len(self._rows), group_size))
            for i, (row, ids, mask) in enumerate(zip(self._rows, output["prompt_ids"], output["prompt_mask"], strict=True))
        ]
        local = [
            (s.key, s.member, len(s.guidance_ids), s.fraction, len(ids) - len(s.guidance_ids))
            for s, ids in zip(starts, self._scored["ids"], strict=True)
        ]
        facts = gather_object(local)
        weights = self.reward_weights.to(rewards_per_func.device)
        rewards = (rewards_per_func * weights).nansum(dim=1)
        rewards[torch.isnan(rewards_per_func).all(dim=1)] = torch.nan
        if self.args.guided and self.args.guidance_loss in COEFFICIENTS:
            output["guidance_tokens"] = torch.tensor([len(s.guidance_ids) for s in starts], device=rewards.device)
        if self.args.guided and self.args.guidance_advantages != "joint":
            guided = torch.tensor([f[2] > 0 for f in facts], device=rewards.device)
            advantages = group_advantages(rewards, guided, group_size, self.args.guidance_advantages, self.scale_rewards)
            first = self.accelerator.process_index * len(local)
            output["advantages"] = advantages[first : first + len(local)]
            for i, value in enumerate(advantages.tolist()):  # what TRL logged was the joint grouping
                self._logs["advantages"][len(self._logs["advantages"]) - len(advantages) + i] = value
        else:
            advantages = self.accelerator.gather(output["advantages"])
        if self.args.guided and self.args.guidance_loss == "verified_sft":
            self._mask_unverified(output, rewards_per_func[:, self._driver])
        self._unscored_batches = self._unscored_batches + 1 if torch.isnan(rewards).all() else 0
        if self._unscored_batches == UNSCORED_BATCHES:
            raise RunError("rewards", f"{UNSCORED_BATCHES} generation batches without a single scored rollout", expected="rewards that can score some of them",
                           then="Every reward function returned None or NaN; look at one rollout with g2rpo show.")  # fmt: skip
        driver = rewards_per_func[:, self._driver].tolist()
        outcomes = [
            Outcome(key, member, tokens > 0, tokens, fraction, sampled, _number(success), _number(reward), advantage)
            for (key, member, tokens, fraction, sampled), success, reward, advantage in zip(
                facts, driver, rewards.tolist(), advantages.tolist(), strict=True
            )
        ]
        return starts, outcomes

    def _mask_unverified(self, output: dict[str, Any], success: torch.Tensor) -> None:
        """Guidance from which a row did not arrive leaves the loss and its count of tokens; `success` is that of all processes."""
        local = len(output["advantages"])
        first = self.accelerator.process_index * local
        output["verified"] = verified(output["advantages"], success[first : first + local])
        place = torch.arange(output["tool_mask"].shape[1], device=output["tool_mask"].device)
        left_out = (output["verified"] == 0)[:, None] & (place < output["guidance_tokens"][:, None])
        output["tool_mask"] = output["tool_mask"].masked_fill(left_out, 0)
        self.forget_masked(output)
        output["num_items_in_batch"] = self.accelerator.gather((output["completion_mask"] * output["tool_mask"]).sum()).sum()

    def _close_generation(
        self, outcomes: list[Outcome], outputs: list[dict[str, Any]], trained: torch.Tensor, rollouts: list[dict[str, Any]]
    ) -> None:
        """Records the generation batch, all rounds of it, and lets the controller take its step."""
        self._record(outcomes, outputs, float(trained))
        if rollouts and self.accelerator.is_main_process:
            for sink in self.rollout_sinks:
                sink(self._generations, rollouts)
        self.controller_state = self.controller.update(self.controller_state, outcomes)
        self._generations += 1

    def _record(self, outcomes: list[Outcome], outputs: list[dict[str, Any]], trained: float) -> None:
        metrics = transfer_metrics(outcomes, self.num_generations)
        self._totals["tokens/sampled_total"] += metrics["tokens/sampled"]
        self._totals["tokens/guidance_total"] += metrics["tokens/guidance"]
        self._totals["rollouts_total"] += len(outcomes)
        local = torch.stack([output["prompt_mask"].sum() for output in outputs]).sum()
        prefilled = self.accelerator.reduce(local, reduction="sum").item()
        metrics["tokens/prefilled"] = prefilled + metrics["tokens/guidance"]
        metrics["tokens/trained"] = trained
        metrics["rounds"] = float(len(outputs))
        self._totals["tokens/trained_total"] += trained
        for name, value in metrics.items():
            self._metrics["train"][f"guidance/{name}"].append(value)
        for name, value in self._totals.items():
            self._metrics["train"][f"guidance/{name}"] = [value]  # a running count, not to be averaged over a log window

    def _rollouts(self, outcomes: list[Outcome], starts: list[GuidedPrompt]) -> list[dict[str, Any]]:
        """Rows for the rollout files, of all processes, on the main one; none where this generation batch is not written."""
        every = self.args.rollouts_every
        if not self.rollout_sinks or not every or self._generations % every:
            return []
        local = [
            {"prompt_ids": list(s.prompt_ids), "completion_ids": list(ids), "guidance_tokens": len(s.guidance_ids),
             "prompt": p if isinstance(p, str) else p[-1]["content"], "completion": c if isinstance(c, str) else c[-1]["content"]}
            for s, ids, p, c in zip(starts, self._scored["ids"], self._scored["prompts"], self._scored["completions"], strict=True)
        ]  # fmt: skip
        rows = gather_object(local)
        if not self.accelerator.is_main_process:
            return []
        rewards = self._scored["rewards"].tolist()
        for row, outcome, values in zip(rows, outcomes, rewards, strict=True):
            row.update(key=outcome.key, member=outcome.member, guided=outcome.guided, fraction=outcome.fraction,
                       reward=outcome.reward, advantage=outcome.advantage, success=outcome.success,
                       rewards=dict(zip(self.reward_func_names, map(_number, values), strict=True)))  # fmt: skip
        return rows

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        scores = super()._get_per_token_logps_and_entropies(*args, **kwargs)
        if self._in_loss is not None:
            # TRL reads the advantages after this call and takes them per token: the guidance loss needs the probabilities first.
            logps, entropies, *_ = scores
            coefficient = self.args.guidance_loss_coefficient or COEFFICIENTS[self.args.guidance_loss]
            self._in_loss["advantages"] = token_advantages(
                self._in_loss["advantages"],
                self._in_loss["guidance_tokens"],
                logps,
                entropies,
                self.args.guidance_loss,
                coefficient,
                self._in_loss.get("verified"),
            )
        return scores

    def _compute_loss(self, model, inputs):
        if "guidance_tokens" in inputs:
            inputs = self._in_loss = dict(inputs)
        try:
            loss = super()._compute_loss(model, inputs)
        finally:
            self._in_loss = None
        if not torch.isfinite(loss):
            raise RunError(f"loss at step {self.state.global_step + 1}", loss.item(), expected="a finite number",
                           then="Lower the learning rate or max_grad_norm, or set bf16 instead of fp16; resume from the last checkpoint.")  # fmt: skip
        return loss


def _number(value: float) -> float | None:
    return None if value != value else value
