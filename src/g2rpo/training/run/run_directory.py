"""The run directory: what a run was, step by step, for whoever judges it later.

    resolved.json       every field as resolved
    manifest.json       versions, commit, data digest, seed, command, machine
    steps.jsonl         one line per optimizer step: metrics, controller state, wall-clock
    evaluations.jsonl   one line per held-out evaluation, where the recipe names suites
    rollouts/*.parquet  one file per generation batch: ids, origin of each token, texts, expected answer, rewards, advantages
    phases.json         seconds per phase of the whole run, the sum over `steps.jsonl`; empty for SFT
    checkpoint-N/       TRL's checkpoint and `guidance_state.json`
    .lock               which process is writing, while one is

Lines are flushed one by one: a killed run keeps all but the step it was in. A resumed run first drops what was written after its
checkpoint, so that no step stands twice.
"""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import g2rpo
from g2rpo.data.problem import Problem
from g2rpo.errors import RunError
from g2rpo.io import replacing, write_json, write_text
from g2rpo.method.rollout import GUIDANCE, PROMPT, SAMPLED
from g2rpo.training.run.lock import locked

_HOW_FAR = "max_steps num_train_epochs max_sampled_tokens"
_WHAT_IS_WRITTEN = """
    output_dir run_name project hub_* push_to_hub trackio_* report_to log_* logging_* disable_tqdm rollouts_every debug
    skip_memory_metrics save_* enable_jit_checkpoint load_best_model_at_end metric_for_best_model greater_is_better eval_*
    per_device_eval_batch_size num_generations_eval do_* resume_from_checkpoint"""
_WHAT_IT_RUNS_ON = """
    use_cpu local_rank ddp_* dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor dataloader_multiprocessing_context torch_empty_cache_steps trust_remote_code
    gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing activation_checkpointing_kwargs vllm_server_*
    vllm_group_port vllm_gpu_memory_utilization vllm_tensor_parallel_size vllm_enable_sleep_mode"""
MAY_CHANGE = tuple(f"{_HOW_FAR} {_WHAT_IS_WRITTEN} {_WHAT_IT_RUNS_ON}".split())
"""Training fields in which a resumed run may differ from its beginning: none of them decides what a step does, save where a
schedule looks at the run's end. All others are refused, so that a field nobody thought of is never changed silently."""
PACKAGES = ("torch", "transformers", "trl", "accelerate", "datasets", "peft", "vllm", "math-verify")


@dataclasses.dataclass(frozen=True)
class StepRecord:
    """One line of `steps.jsonl`: what was measured at one step, and the state the controller left it with."""

    step: int
    metrics: dict[str, float | None]
    controller: dict[str, Any] = dataclasses.field(default_factory=dict)
    wall_s: float = 0.0


class RunDirectory:
    """Reads and writes the files above."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.steps_file = self.path / "steps.jsonl"
        self.evaluations_file = self.path / "evaluations.jsonl"
        self.rollouts = self.path / "rollouts"

    @contextmanager
    def claimed(self, resume: bool = False) -> Iterator[None]:
        """Makes the directory this process's own; without `resume`, sees that it is a new run's and can be written, before a
        model is loaded.

        Inside, the run is made ready and runs. What is refused inside leaves no empty directory behind.

        Raises:
            RunError: another process is writing it; or it holds a run or a model already, or cannot be written.
        """
        made = [folder for folder in (self.path, *self.path.parents) if not os.path.exists(folder)]
        try:
            with locked(self.path):
                if not resume:
                    self._claim()
                yield
        except BaseException:
            for folder in made:
                with suppress(OSError):  # it never came to be, or something has been written into it
                    folder.rmdir()
            raise

    def _claim(self) -> None:
        if os.path.isfile(self.path):
            raise RunError(
                "output_dir", str(self.path), expected="a directory; this is a file", then="Choose another output_dir."
            )
        for pattern in ("steps.jsonl", "*.safetensors", "checkpoint-*"):
            if found := next(self.path.glob(pattern), None):
                raise RunError(
                    "output_dir",
                    str(self.path),
                    expected=f"a directory without a run in it; it holds {found.name}",
                    then="Choose another output_dir, remove it, or, if it has a checkpoint, continue that run with --resume.",
                )
        probe = self.path / ".probe"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"0" * 4096)
            probe.unlink()
        except OSError as error:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
            raise RunError(
                "output_dir",
                str(self.path),
                expected=f"a directory with room and permission to write ({error.strerror or error})",
                then="Nothing has run yet. Choose another output_dir, or free some space.",
            ) from error

    def same_settings(self, config: dict[str, Any]) -> None:
        """Compares the settings of a resumed run with those it was started with.

        Settings that an earlier version did not have yet are passed over. Suites may be added to a run that had none.

        Raises:
            RunError: names the first that differs, of those that decide what a step does or what its measurements mean.
        """
        try:
            before = json.loads((self.path / "resolved.json").read_text())
        except (OSError, ValueError) as error:
            raise RunError(
                "resolved.json",
                str(self.path),
                expected="a run directory with its settings in resolved.json",
                then="Start a new run in another output_dir, from the checkpoint's weights.",
            ) from error
        now = json.loads(json.dumps(config, default=str))
        for part, settings in now.items():
            if part == "held_out" and not before.get(part, {}).get("eval_suite"):
                continue
            for name, value in settings.items():
                if name not in before.get(part, {}) or before[part][name] == value or (part == "training" and _may_change(name)):
                    continue
                raise RunError(
                    name,
                    value,
                    expected=f"{before[part][name]!r}, with which this run was started",
                    then="Resume with the same settings, or start a new run in another output_dir.",
                )

    def create(self, config: dict[str, Any], facts: dict[str, Any], resume: bool) -> None:
        """Writes config and manifest; a resumed run adds its session to the manifest it finds.

        Raises:
            RunError: the directory cannot be written.
        """
        path = self.path / "manifest.json"
        if resume and path.exists():
            first = json.loads(path.read_text())
            facts = {**first, "resumed": [*first.get("resumed", []), {k: facts[k] for k in ("commit", "command", "versions")}]}
        with writing(self.path):
            self.rollouts.mkdir(parents=True, exist_ok=True)
            write_json(self.path / "resolved.json", config, default=str)
            write_json(path, facts, default=str)

    def append(self, record: StepRecord) -> None:
        with writing(self.steps_file), self.steps_file.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(record)) + "\n")

    def append_evaluation(self, step: int, metrics: dict[str, Any]) -> None:
        with writing(self.evaluations_file), self.evaluations_file.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def steps(self) -> list[dict[str, Any]]:
        """All complete lines; a torn last line, left by a kill, is not a step."""
        if not self.steps_file.exists():
            raise RunError(
                "run directory",
                str(self.path),
                expected="a file steps.jsonl",
                then="Check the path; it is the output_dir of a run.",
            )
        records = []
        for line in self.steps_file.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind(self, step: int, generations: int) -> None:
        """Drops lines after an optimizer step and rollouts from a generation batch on: the run goes on from there."""
        with writing(self.path):
            self._rewind(step, generations)

    def _rewind(self, step: int, generations: int) -> None:
        if self.steps_file.exists():
            kept = [r for r in self.steps() if r["step"] <= step]
            write_text(self.steps_file, "".join(json.dumps(r) + "\n" for r in kept))
        if self.evaluations_file.exists():
            lines = [line for line in self.evaluations_file.read_text().splitlines() if line.endswith("}")]
            kept = [line + "\n" for line in lines if json.loads(line)["step"] <= step]
            write_text(self.evaluations_file, "".join(kept))
        for file in self.rollouts.glob("*.parquet"):
            if int(file.stem.rpartition("_")[2]) >= generations:
                file.unlink()

    def rollout_files(self) -> list[Path]:
        """The rollout files that there are, by generation batch."""
        return sorted(self.rollouts.glob("generation_*.parquet"))

    def write_phases(self, seconds: dict[str, float]) -> None:
        with writing(self.path):
            write_json(self.path / "phases.json", seconds)

    def write_rollouts(self, generation: int, rows: list[dict[str, Any]]) -> None:
        """One Parquet file; `token_origin` has one code per token of prompt + completion (0 prompt, 1 guidance, 2 sampled)."""
        table = []
        for row in rows:
            given, size = row["guidance_tokens"], len(row["completion_ids"])
            origin = [PROMPT] * len(row["prompt_ids"]) + [GUIDANCE] * given + [SAMPLED] * (size - given)
            table.append(
                {
                    "generation": generation,
                    **row,
                    "rewards": json.dumps(row["rewards"]),
                    "token_ids": row["prompt_ids"] + row["completion_ids"],
                    "token_origin": origin,
                }
            )
        for row in table:
            del row["prompt_ids"], row["completion_ids"]
        file = self.rollouts / f"generation_{generation:06d}.parquet"
        with writing(file):
            self.rollouts.mkdir(parents=True, exist_ok=True)
            with replacing(file) as part:
                pq.write_table(pa.Table.from_pylist(table), part)


def manifest(problems: Sequence[Problem], seed: int) -> dict[str, Any]:
    """What must be known to repeat a run, and what two runs must share to be compared."""
    digest, questions = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for problem in problems:
        digest.update(json.dumps(dataclasses.asdict(problem), sort_keys=True).encode())
        questions.update(json.dumps([problem.key, problem.prompt, problem.answer, problem.tests], sort_keys=True).encode())
    return {
        "g2rpo": g2rpo.__version__,
        "commit": _commit(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "command": sys.argv[1:],
        "seed": seed,
        "problems": len(problems),
        "data_digest": digest.hexdigest(),
        "questions_digest": questions.hexdigest(),
    }


def _may_change(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in MAY_CHANGE)


class writing:
    """Turns what an operating system says about a full or read-only disk into a sentence."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError):
            raise RunError(
                f"writing {self.path}",
                error.strerror or str(error),
                expected="room and permission to write",
                then="What was written before is whole. Free some space, then continue with --resume.",
            ) from error


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of a source checkout; None for an installed package."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", "-C", str(here), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
