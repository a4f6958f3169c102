"""TRL's order of problems, in which a later epoch can be begun without the ones before it: a resumed run needs that."""

import torch
from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler


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
