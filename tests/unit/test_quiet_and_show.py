"""What is said of a run and what is not: harmless messages of the libraries are quiet, all others are heard."""

import logging
import subprocess
import sys
from collections import namedtuple

import pytest

from g2rpo import GuidedGRPOTrainer
from g2rpo.cli.quiet import quiet
from g2rpo.cli.show import body
from g2rpo.lab.report.rollout_text import rollout_text
from g2rpo.method.rollout import GUIDANCE, PROMPT, SAMPLED
from g2rpo.training.run.run_directory import RunDirectory

Loaded = namedtuple("Loaded", ["missing_keys", "unexpected_keys"])


def test_tied_weights_are_not_missing_and_others_are(make_model, tokenizer, rows, config, monkeypatch):
    trainer = GuidedGRPOTrainer(
        make_model(), [lambda completions, **_: [0.0] * len(completions)], config(), rows(8), processing_class=tokenizer
    )
    said = []
    monkeypatch.setattr("transformers.trainer.logger.warning", said.append)
    trainer._issue_warnings_after_load(Loaded(["lm_head.weight"], []))
    assert said == []
    trainer._issue_warnings_after_load(Loaded(["lm_head.weight", "model.norm.weight"], []))
    trainer._issue_warnings_after_load(Loaded(["lm_head.weight", "model.embed_tokens.weight"], []))
    assert [message.partition(": ")[2] for message in said] == [
        "['model.norm.weight'].",
        "['lm_head.weight', 'model.embed_tokens.weight'].",
    ]


@pytest.mark.parametrize(
    ("flags", "heard"),
    [("['top_k']", 0), ("['temperature', 'top_p']", 0), ("['num_beams']", 1), ("['top_k', 'penalty_alpha']", 1)],
)
def test_sampling_settings_that_greedy_decoding_ignores_are_quiet(flags, heard):
    quiet()
    logger, records = logging.getLogger("transformers.generation.configuration_utils"), []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    try:
        logger.warning(f"The following generation flags are not valid and may be ignored: {flags}.")
        logger.warning("Something else.")
    finally:
        logger.removeHandler(handler)
    assert len(records) == heard + 1


def test_show_loads_neither_torch_nor_transformers(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    ids = tokenizer("So 1 + 1 = 2")["input_ids"]
    row = {
        "prompt_ids": [1],
        "completion_ids": ids,
        "guidance_tokens": 2,
        "prompt": "q",
        "completion": "So 1 + 1 = 2",
        "key": "k",
        "rollout_index": 0,
        "guided": True,
        "fraction": 0.5,
        "reward": 1.0,
        "advantage": 0.5,
        "success": 1.0,
        "rewards": {},
        "answer": "2",
    }
    RunDirectory(tmp_path).write_rollouts(0, [row])
    program = "import sys; from g2rpo.cli.main import app; app(standalone_mode=False); print({'torch', 'transformers'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program, "show", str(tmp_path)], capture_output=True, text=True, check=True)
    assert f"⟦{tokenizer.decode(ids[:2])}⟧{tokenizer.decode(ids[2:])}\n" in done.stdout
    assert "\nexpected 2\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_show_says_which_text_was_graded():
    row = {"token_ids": [1, 2, 3, 4, 5], "token_origin": [PROMPT, GUIDANCE, *[SAMPLED] * 3], "completion": "given said"}
    words = {1: "question ", 2: "given ", 3: "<box>", 4: "said", 5: "<end>"}

    def decode(ids):
        return "".join(words[i] for i in ids)

    shown = body(rollout_text(row, decode)).plain
    assert shown == "    ⟦given ⟧<box>said<end>\n    graded: given said"
    words[3] = ""  # only the end of the turn is missing: not worth a second copy of the text
    assert "graded" not in body(rollout_text(row, decode)).plain
    assert body(rollout_text(row, None)).plain == "    given said"
