"""Ends a run when its tokens are spent: equal budgets for unequal methods."""

from collections.abc import Callable

from transformers import TrainerCallback


class StopAtBudget(TrainerCallback):
    """Stops after the optimizer step in which `spent()` reached `tokens`."""

    def __init__(self, spent: Callable[[], int], tokens: int) -> None:
        self.spent, self.tokens = spent, tokens

    def on_step_end(self, args, state, control, **kwargs):
        if self.spent() >= self.tokens:
            control.should_training_stop = True
