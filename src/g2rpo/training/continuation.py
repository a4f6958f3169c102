"""How guided prompts are continued: by an engine of TRL's with a token budget per row, or by the loop of `g2rpo.sampling`."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from g2rpo.method.planner import row_key
from g2rpo.method.rollout import GuidedPrompt
from g2rpo.sampling.sample import sample_rows
from g2rpo.seeds import seed_of
from g2rpo.training.engine.row_budgets import row_budgets


class Continues:
    """Mixin in front of `GuidedGRPOTrainer`'s other bases."""

    def _continue(
        self, starts: list[GuidedPrompt], images, fields, rows: Sequence[int] | None = None
    ) -> list[tuple[list[int], list[float] | None]]:
        """Sampled ids, and the sampler's log-probabilities where there are any, for each guided prompt; `rows` are their places
        in the batch, where they are not all of it."""
        prompts = [list(s.prompt_ids + s.guidance_ids) for s in starts]
        # After a demonstration nothing is sampled; engines want one token at least, and it is dropped.
        budgets = [1 if s.whole else self.max_completion_length - len(s.guidance_ids) for s in starts]
        if self.use_vllm or self.use_transformers_continuous_batching or images is not None:
            with row_budgets(self.vllm_generation, budgets) if self.use_vllm else nullcontext():
                # num_generations=1: in server mode vLLM would otherwise give the whole group the first row's prefix.
                ids, logprobs = self._generate_single_turn(prompts, images, fields, num_generations=1)
            return [
                (x[:b], None if logprobs is None else logprobs[i][:b]) for i, (x, b) in enumerate(zip(ids, budgets, strict=True))
            ]
        return self._sample(prompts, budgets, [s.guidance_ids for s in starts], rows)

    def _generate_single_turn(self, prompt_ids, images, multimodal_fields, num_generations, **kwargs):
        """The engines are TRL's. Where TRL would call `generate`, our loop draws the same tokens from the same generator, or each
        row's own where rows have seeds."""
        engine = self.use_vllm or self.use_transformers_continuous_batching
        # A generation config with an end, a length or a stop of its own gets what TRL makes of it.
        trls_own = not self.args.seeded_sampling and (not self.args.fast or self.args.generation_kwargs)
        if engine or trls_own or images is not None or multimodal_fields:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, num_generations, **kwargs)
        rows = self._sample(prompt_ids, [self.max_completion_length] * len(prompt_ids), [()] * len(prompt_ids))
        ids, logprobs = map(list, zip(*rows, strict=True))
        return ids, None if logprobs[0] is None else logprobs

    def _sample(
        self, prompts: list[list[int]], budgets: list[int], given: list[tuple[int, ...]], places: Sequence[int] | None = None
    ) -> list[tuple[list[int], list[float] | None]]:
        """Ids per row, and their log-probabilities where they are wanted; `given` are the guidance ids at the end of each
        prompt, `places` the rows' places in the batch, where they are not all of it."""
        places = range(len(self.step_batch.rows)) if places is None else places
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
                model,
                prompts,
                budgets,
                self.generation_config,
                eos_ids=self.eos_token_ids,
                pad_id=self._tokenizer.pad_token_id,
                seeds=self._seeds(places),
                fast=self.args.fast,
                finished=self._grader_ahead(given, places),
            )
        told = self.args.reuse_sampler_logprobs or self.args.guidance_reattach
        return [(row.ids, row.logprobs if told else None) for row in rows]

    def _seeds(self, places: Sequence[int]) -> list[int] | None:
        """One per row: its own randomness, whatever the batch and the number of processes. None: torch's generator."""
        if not self.args.seeded_sampling:
            return None
        training, rows = self.model.training, self.step_batch.rows
        phase = ("train", self._generations) if training else ("eval", self.state.global_step)
        group_size = self.num_generations if training else self.num_generations_eval
        first = self.accelerator.process_index * len(rows)
        earlier = self.step_batch.earlier_groups
        # The group's place in the batch, too: a problem that is drawn twice must not get the same rollouts twice.
        return [
            seed_of(
                self.args.seed, "sample", *phase, row_key(rows[i]), self._rollout_index(i), earlier + (first + i) // group_size
            )
            for i in places
        ]

    def _grader_ahead(self, given: list[tuple[int, ...]], places: Sequence[int]) -> Callable[[int, list[int]], None] | None:
        """Hands each row to the rewards that can grade ahead as it ends; None where later they are asked about something else."""
        graders = [f for f in self.reward_funcs if hasattr(f, "ahead")]
        parsed = getattr(self._tokenizer, "response_schema", None) or getattr(self._tokenizer, "response_template", None)
        rows = [self.step_batch.rows[i] for i in places]
        if not graders or not self.model.training or self.tools or parsed or len(given) != len(rows):
            return None

        def grade_ahead(row: int, ids: list[int]) -> None:
            text = self._tokenizer.decode([*given[row], *ids], skip_special_tokens=True)
            columns = {name: cell for name, cell in rows[row].items() if name not in ("prompt", "completion", "completion_ids")}
            for grader in list(graders):
                try:
                    grader.ahead(text, **columns)
                except Exception:  # the reward itself will say what is wrong
                    graders.remove(grader)

        return grade_ahead
