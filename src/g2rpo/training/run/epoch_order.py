"""TRL's order of problems, in which a later epoch can be begun without the ones before it: a resumed run needs that."""

import torch
from trl.trainer.utils import RepeatSampler


class EpochRepeatSampler(RepeatSampler):
    """The same order in every epoch as TRL's sampler, whose one generator shuffles epoch after epoch and starts at the first again on a
    resume. Trainer and Accelerate call `set_epoch` before each.
    """

    def set_epoch(self, epoch: int) -> None:
        if self.shuffle:
            self.generator.manual_seed(self.seed)
            for _ in range(epoch):
                torch.randperm(self.num_samples, generator=self.generator)


class ResumesInAnyEpoch:
    """Mixin in front of `GRPOTrainer`."""

    def _get_train_sampler(self, dataset=None):
        trl = super()._get_train_sampler(dataset)
        if type(trl) is not RepeatSampler:
            return trl
        return EpochRepeatSampler(trl.data_source, trl.mini_repeat_count, trl.batch_size, trl.repeat_count, trl.shuffle, trl.seed)
