"""`g2rpo eval` as a user meets it: every form of a checkpoint, a kill in the middle, two checkpoints compared, mistakes."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.errors import ConfigError, RunError
from g2rpo.evaluation.checkpoint import load_checkpoint
from g2rpo.evaluation.compare_evaluations import compare_evaluations
from g2rpo.evaluation.engines import Decoding, decoding
from g2rpo.evaluation.evaluate import EvalOptions, evaluate

SMALL = EvalOptions(limit=12, max_tokens=16, batch_size=5)
FILES = ("settings.json", "samples.jsonl", "results.json")


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def sampled(**changes) -> EvalOptions:
    return EvalOptions(**{"limit": 12, "max_tokens": 16, "batch_size": 5, "ks": (1, 2), "decoding": decoding("paper"), **changes})


def test_same_checkpoint_and_seed_same_bytes_wherever_it_lies(checkpoint, tmp_path):
    place = checkpoint("qwen3")
    evaluate(place, ["chains:3"], tmp_path / "a", sampled())
    moved = shutil.copytree(place, tmp_path / "moved")
    evaluate(str(moved), ["chains:3"], tmp_path / "b", sampled())
    assert contents(tmp_path / "a" / "chains-3") == contents(tmp_path / "b" / "chains-3")
    evaluate(place, ["chains:3"], tmp_path / "c", sampled(seed=1))
    assert contents(tmp_path / "a" / "chains-3")[1] != contents(tmp_path / "c" / "chains-3")[1]
    # One line a sample, no wall-clock time among them; times are in the manifest.
    lines = [json.loads(line) for line in contents(tmp_path / "a" / "chains-3")[1].decode().splitlines()]
    assert [line["sample"] for line in lines] == [0, 1] * 12
    assert json.loads((tmp_path / "a" / "chains-3" / "manifest.json").read_text())["sessions"][0]["wall_s"] > 0


def test_stopped_anywhere_the_bytes_are_the_same(checkpoint, tmp_path):
    place = checkpoint("qwen3")
    evaluate(place, ["chains:3"], tmp_path / "whole", sampled())
    wanted = contents(tmp_path / "whole" / "chains-3")
    folder = tmp_path / "cut" / "chains-3"
    for kept in (0, 3, 5, 23, 24):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "cut")
        lines = wanted[1].splitlines(keepends=True)
        (folder / "samples.jsonl").write_bytes(b"".join(reversed(lines[:kept])) + b'{"key": "torn')
        (folder / "results.json").unlink()
        evaluate(place, ["chains:3"], tmp_path / "cut", sampled())
        assert contents(folder) == wanted, kept
    with pytest.raises(RunError, match=r"seed is 7. Expected 0, with which the evaluation"):
        evaluate(place, ["chains:3"], tmp_path / "cut", sampled(seed=7))
    # Other k of the same samples are other numbers, not other samples.
    evaluate(place, ["chains:3"], tmp_path / "cut", sampled(ks=(2,), samples=2))
    assert contents(folder)[1] == wanted[1]


def test_kill_9_in_the_middle_and_resume(checkpoint, tmp_path):
    place = checkpoint("qwen3")
    command = [
        sys.executable,
        "-m",
        "g2rpo",
        "eval",
        place,
        "--suite",
        "chains:3",
        "--limit",
        "160",
        "--max-tokens",
        "16",
        "--batch-size",
        "8",
        "--out",
        str(tmp_path / "killed"),
    ]
    process = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    samples = tmp_path / "killed" / "chains-3" / "samples.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (samples.exists() and samples.read_bytes().count(b"\n") > 20):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = samples.read_bytes().count(b"\n")
    assert 20 < done < 160
    assert not (samples.parent / "results.json").exists()
    options = EvalOptions(limit=160, max_tokens=16, batch_size=8)
    evaluate(place, ["chains:3"], tmp_path / "killed", options)
    evaluate(place, ["chains:3"], tmp_path / "whole", options)
    assert contents(tmp_path / "killed" / "chains-3") == contents(tmp_path / "whole" / "chains-3")
    sessions = json.loads((samples.parent / "manifest.json").read_text())["sessions"]
    assert sessions[-1]["samples_found"] >= done - 1


def test_adapter_checkpoint_and_merged_model_alike(checkpoint, tokenizer, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = checkpoint("qwen3")
    torch.manual_seed(5)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(target_modules="all-linear", r=4, init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "adapter")  # as TRL's checkpoint-N of a LoRA run, without its tokenizer
    merged = model.merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    for name in ("adapter", "merged"):
        evaluate(str(tmp_path / name), ["chains:3"], tmp_path / f"of-{name}", SMALL)
    assert contents(tmp_path / "of-adapter" / "chains-3") == contents(tmp_path / "of-merged" / "chains-3")
    evaluate(base, ["chains:3"], tmp_path / "of-base", SMALL)
    assert contents(tmp_path / "of-adapter" / "chains-3")[1] != contents(tmp_path / "of-base" / "chains-3")[1]
    shutil.rmtree(base)
    with pytest.raises(ConfigError, match="base model of the adapter") as error:
        load_checkpoint(str(tmp_path / "adapter"))
    assert "base_model_name_or_path in its adapter_config.json" in str(error.value)


def test_two_evaluations_compared(checkpoint, tmp_path):
    for seed in (0, 1):
        evaluate(checkpoint("qwen3", seed), ["chains:3", "word_problems:2"], tmp_path / str(seed), SMALL)
    done = CliRunner().invoke(
        app, ["compare-evals", str(tmp_path / "0"), str(tmp_path / "1"), "--output", str(tmp_path / "c.json")]
    )
    assert done.exit_code == 0, done.output
    compared = json.loads((tmp_path / "c.json").read_text())
    assert set(compared) == {"chains-3", "word_problems-2"}
    assert compared["chains-3"]["problems"] == 12
    same = compare_evaluations(tmp_path / "0", tmp_path / "0" / "chains-3")["chains-3"]
    assert (same["difference"], same["mcnemar_p"], same["settings_that_differ"]) == (0.0, 1.0, [])
    assert same["ci95"][0] < -0.1 < 0.1 < same["ci95"][1]  # twelve problems cannot tell that two models are the same
    evaluate(
        checkpoint("qwen3"),
        ["chains:3"],
        tmp_path / "asked",
        dataclasses.replace(SMALL, instruction="Be brief.", dtype="bfloat16"),
    )
    asked = compare_evaluations(tmp_path / "0", tmp_path / "asked")["chains-3"]
    assert asked["settings_that_differ"] == ["suite.chat", "prompts", "dtype"]
    evaluate(checkpoint("qwen3"), ["chains:3"], tmp_path / "other", EvalOptions(limit=3, max_tokens=16))
    with pytest.raises(RunError, match="the same problems in both"):
        compare_evaluations(tmp_path / "0", tmp_path / "other")
    (tmp_path / "other" / "chains-3" / "results.json").unlink()
    with pytest.raises(RunError, match="a finished one"):
        compare_evaluations(tmp_path / "other", tmp_path / "other")
    with pytest.raises(RunError, match="a suite in common"):
        compare_evaluations(tmp_path / "0" / "chains-3", tmp_path / "1" / "word_problems-2")
    with pytest.raises(RunError, match="written by g2rpo eval"):
        compare_evaluations(tmp_path, tmp_path)


def test_a_base_model_gets_the_suites_plain_text(checkpoint, tokenizer, tmp_path, capsys):
    place = Path(checkpoint("llama"))
    (place / "chat_template.jinja").unlink()
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "about: a suite of my own\ntask: {family: chains, steps: [3], size: 4}\ngrader: exact\nmax_tokens: 8\n"
        'plain: "Q: {problem}\\nA:"\nstop: ["\\nQ:"]\n'
    )
    app(["eval", str(place), "--suite", str(suite), "--out", str(tmp_path / "out")], standalone_mode=False)
    assert "put as plain text, since the model has no chat template" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "out" / "mine" / "settings.json").read_text())["template"] == "plain"
    with pytest.raises(ConfigError, match="this one has none"):
        evaluate(str(place), ["chains:3"], tmp_path / "out", EvalOptions(template="chat"))


def without_tokenizer(place: Path) -> str:
    for file in place.glob("tokenizer*"):
        file.unlink()
    return str(place)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_tokenizer, "Name the model it was trained from with --tokenizer"),
        (lambda place: str(place / "nowhere"), "an existing folder"),
        (lambda place: str(place.parent), "It holds tiny-qwen3-0: name one of them"),
        (lambda place: "no-such-name-on-the-hub", "a hub name that can be loaded, or builtin"),
    ],
)
def test_checkpoints_that_cannot_be_evaluated(checkpoint, spoil, words):
    with pytest.raises(ConfigError) as error:
        load_checkpoint(spoil(Path(checkpoint("qwen3"))))
    assert words in str(error.value)


def test_a_tokenizer_from_elsewhere(checkpoint, tmp_path):
    place = checkpoint("qwen3")
    beside = shutil.copytree(place, tmp_path / "beside")
    without_tokenizer(Path(place))
    evaluate(place, ["chains:3"], tmp_path / "a", EvalOptions(limit=2, max_tokens=4, tokenizer=str(beside)))
    with pytest.raises(ConfigError, match="the rows of the embedding"):
        load_checkpoint(checkpoint("qwen2", vocab_size=50), tokenizer=str(beside))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--suite", "gsm9k"], "Did you mean 'gsm8k'"),
        ([], "Name it with --suite"),
        (["--suite", "chains", "--k", "1,4"], "Add --preset paper"),
        (["--suite", "chains", "--k", "4", "--samples", "2", "--preset", "paper"], "from 1 to 2"),
        (["--suite", "chains", "--k", "one"], "Write --k 1,4,8"),
        (["--suite", "chains", "--preset", "papr"], "Did you mean 'paper'"),
        (["--suite", "chains", "--limit", "0"], "a positive number"),
        (["--suite", "chains", "--engine", "vllm"], "--engine transformers"),
        (["--suite", "chains", "--dtype", "int3"], "auto, stored, float32"),
        (["--suite", "chains", "--chat-template-kwargs", "{"], "a JSON object"),
        (["--suite", "chains", "--completions", "x.jsonl"], "Name exactly one of them"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        app(["eval", "builtin", *flags, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    assert words in message
    assert not (tmp_path / "out").exists()


def test_suites_are_listed():
    done = CliRunner().invoke(app, ["eval", "--list"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "gsm8k" in done.stdout


def test_what_is_drawn_depends_on_the_sample_alone(checkpoint, tmp_path):
    """The same samples alone and among more of the same problem: pass@8 later builds on pass@4."""
    place = checkpoint("qwen3")
    hot = {"decoding": Decoding(1.0), "batch_size": 64}
    evaluate(place, ["chains:3"], tmp_path / "few", sampled(ks=(2,), **hot))
    evaluate(place, ["chains:3"], tmp_path / "more", sampled(ks=(4,), **hot))
    few, more = (
        {
            (s["key"], s["sample"]): s["completion"]
            for s in map(json.loads, contents(tmp_path / name / "chains-3")[1].decode().splitlines())
        }
        for name in ("few", "more")
    )
    assert sum(few[which] == more[which] for which in few) >= 0.9 * len(few)  # a near tie may round the other way
