"""What resuming needs besides TRL's own: the controller's state and the counts that feed the record, in each checkpoint; and an
order of problems in which a later epoch can be begun without the ones before it."""

import json
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from accelerate.logging import get_logger
from safetensors import SafetensorError
from torch.utils.data import Sampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl.trainer.utils import RepeatSampler

from g2rpo.errors import RunError
from g2rpo.io import write_json
from g2rpo.method.controller import state_from_json, state_to_json
from g2rpo.method.warm_start import WarmStartState

STATE_FILE = "guidance_state.json"
logger = get_logger(__name__)


class SavesState:
    """Mixin in front of a trainer of TRL's: writes a state of its own with each checkpoint, whole or not at all."""

    def guidance_state(self) -> dict[str, Any]:
        """What a checkpoint must carry besides TRL's own: of how many processes it is, and the counts that feed the record."""
        raise NotImplementedError

    def _save_checkpoint(self, model, trial):
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise RunError(
                f"writing {folder}",
                str(error),
                expected="room and permission to write",
                then="Earlier checkpoints are whole. Free some space, then continue with --resume.",
            ) from error
        if self.args.should_save:
            write_json(folder / STATE_FILE, self.guidance_state())

    def _issue_warnings_after_load(self, load_result):
        """Says nothing of weights that are missing in a checkpoint because they are stored under the name of those they are tied
        to."""
        names: dict[int, set[str]] = {}
        for name, weight in self.model.named_parameters(remove_duplicate=False):
            names.setdefault(id(weight), set()).add(name)
        missing = set(load_result.missing_keys)
        tied = {name for shared in names.values() if shared - missing for name in shared}
        kept = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=kept))


class SavesGuidanceState(SavesState):
    """The state of `GRPOTrainer` with a controller, read on a resume."""

    def guidance_state(self) -> dict[str, Any]:
        """What a checkpoint must carry besides TRL's own: the controller's state and the counts that feed the record."""
        return {
            "processes": self.accelerator.num_processes,
            "controller": self.args.guidance_controller,
            "state": state_to_json(self.controller_state),
            "warm_start": asdict(self.warm_start_state),
            "generations": self._generations,
            "totals": self._totals,
        }

    def _save_checkpoint(self, model, trial):
        super()._save_checkpoint(model, trial)
        if self._step % (self.args.steps_per_generation * self.num_iterations):
            logger.warning(
                f"Checkpoint at step {self.state.global_step} lies inside a generation batch: a resumed run samples that batch "
                "anew, so it will not repeat this one exactly."
            )

    def read_guidance_state(self, checkpoint: str | Path) -> dict[str, Any]:
        """The saved state of a checkpoint.

        Raises:
            RunError: there is none, or it belongs to another controller.
        """
        path = Path(checkpoint) / STATE_FILE
        if not path.exists():
            raise RunError(
                "checkpoint",
                str(checkpoint),
                expected=f"a file {STATE_FILE} with the controller's state in it",
                then="It was not written by a guided run; start from its weights with model_name_or_path instead.",
            )
        saved = json.loads(path.read_text())
        if saved["controller"] != self.args.guidance_controller:
            raise RunError(
                "guidance_controller",
                self.args.guidance_controller,
                expected=f"{saved['controller']!r}, which the checkpoint was written with",
                then="Resume with the same settings, or start a new run.",
            )
        return saved

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            saved = self.read_guidance_state(checkpoint)
            self.controller_state = state_from_json(self.controller, saved["state"])
            known = {field.name for field in fields(WarmStartState)}  # an earlier version's may have others
            self.warm_start_state = WarmStartState(**{k: v for k, v in saved.get("warm_start", {}).items() if k in known})
            self._generations, self._totals = saved["generations"], {**self._totals, **saved["totals"]}


class SavesSpentTokens(SavesState):
    """The state of a trainer without a controller: the tokens that it learned from, read on a resume."""

    def guidance_state(self) -> dict[str, Any]:
        return {"processes": self.accelerator.num_processes, "totals": {"tokens/imitated_total": self.trained_tokens}}

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            saved = json.loads((Path(checkpoint) / STATE_FILE).read_text())
            self.trained_tokens = saved["totals"]["tokens/imitated_total"]


class EpochRepeatSampler(RepeatSampler):
    """The same order in every epoch as TRL's sampler, whose one generator shuffles epoch after epoch and starts at the first
    again on a resume. Trainer and Accelerate call `set_epoch` before each.
    """

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)


def resumable_in_any_epoch(sampler: Sampler) -> Sampler:
    """TRL's sampler as one that can begin with a later epoch; other samplers as they are."""
    if type(sampler) is not RepeatSampler:
        return sampler
    return EpochRepeatSampler(
        sampler.data_source, sampler.mini_repeat_count, sampler.batch_size, sampler.repeat_count, sampler.shuffle, sampler.seed
    )
