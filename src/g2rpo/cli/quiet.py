"""What the libraries below print on their own, and says nothing about what was asked for."""

import warnings


def quiet() -> None:
    """No bars for loading, mapping and saving, and no warning about a call that TRL makes. Other warnings are shown as ever."""
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging

    disable_progress_bar()
    logging.disable_progress_bar()
    # TRL 1.16 asks under a name that Transformers is about to drop; who trains can do nothing about it.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
