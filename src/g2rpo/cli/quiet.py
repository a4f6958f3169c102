"""What the libraries below print on their own, and says nothing about what was asked for."""

import logging as logs
import re
import warnings

_SAMPLING = {"temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"}
"""Settings of a model's generation config that greedy decoding ignores, as it should."""


def _is_news(record: logs.LogRecord) -> bool:
    flags = re.search(r"generation flags are not valid and may be ignored: (\[.*?\])", record.getMessage())
    return flags is None or not set(re.findall(r"\w+", flags[1])) <= _SAMPLING


def quiet() -> None:
    """No bars for loading, mapping and saving, no warning about a call that TRL makes, none about sampling settings that greedy
    decoding ignores. Other warnings are shown as ever."""
    logs.getLogger("transformers.generation.configuration_utils").addFilter(_is_news)
    from datasets.utils.logging import disable_progress_bar
    from transformers.utils import logging

    disable_progress_bar()
    logging.disable_progress_bar()
    # TRL 1.16 asks under a name that Transformers is about to drop; who trains can do nothing about it.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)
