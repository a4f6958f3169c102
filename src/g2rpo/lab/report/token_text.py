"""Token ids of a run as text."""

from collections.abc import Callable, Sequence

from g2rpo.training.run.run_directory import RunDirectory


def decoder(run: RunDirectory) -> Callable[[Sequence[int]], str] | None:
    """Decodes with the tokenizer saved in the run; None when there is none (a run that was killed before its end)."""
    import json

    from transformers import AutoTokenizer

    from g2rpo.models import resolve_model

    config = json.loads((run.path / "resolved.json").read_text())
    for place in (str(run.path), resolve_model(config["model"]["model_name_or_path"])):
        try:
            tokenizer = AutoTokenizer.from_pretrained(place)
        except (OSError, ValueError):
            continue
        return lambda ids: tokenizer.decode(ids, skip_special_tokens=False)
    return None
