"""Every recipe takes two optimizer steps on a tiny model of its architecture.

The tiny models carry the chat templates of the real ones (as TRL ships them) and special tokens of the same kind; the data are
a few rows with the columns of the real sets. No weights and no data set are downloaded.
"""

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import trl

from g2rpo.data.completion import style
from g2rpo.data.load import load_problems
from g2rpo.data.sources import reader
from g2rpo.method.guided_share import guided_count
from g2rpo.training.run.recipe import Recipe, read_yaml, resolve
from g2rpo.training.sft import resolve_sft, train_sft
from tests.e2e.test_recipes import ALL, CPU, LINES, RL, SFT, path

TRACE = [f"Start with {n} marbles.\nGive {n - 1} of them away.\nWhat is left is counted." for n in (23, 34, 45, 56)]
QUESTION = [f"There are {n} marbles and all but one are given away. How many are left?" for n in (23, 34, 45, 56)]


def gsm8k() -> list[dict]:
    return [
        {"question": q, "answer": t.replace("counted", "counted <<1=1>>") + "\n#### 1"}
        for q, t in zip(QUESTION, TRACE, strict=True)
    ]


def openr1() -> list[dict]:
    wrong = "<think>\nI guess at once.\n</think>\n\nIt is \\boxed{2}."
    return [
        {
            "problem": q,
            "solution": "One is left.",
            "answer": "1",
            "problem_type": "Algebra",
            "question_type": "math-word-problem",
            "source": "olympiads",
            "uuid": f"uuid-{i}",
            "is_reasoning_complete": [True, True, False],
            "generations": [wrong, f"<think>\n{t}\n</think>\n\nSo \\boxed{{1}}.", "<think>\nHm"],
            "correctness_math_verify": [False, True, True],
            "correctness_llama": None,
            "finish_reasons": None,
            "correctness_count": 1,
            "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": wrong}],
        }
        for i, (q, t) in enumerate(zip(QUESTION, TRACE, strict=True))
    ]


def curriculum() -> list[dict]:
    tiers = ("cn_contest", "aops_forum", "amc_aime", "olympiads")
    return [
        {
            "problem": q,
            "answer": "$1$",
            "generations": f"<think>\n{t}\n</think>\n<answer>\n$\\boxed{{1}}$\n</answer>",
            "source": tier,
            "tier_index": i,
            "uuid": f"uuid-{i}",
        }
        for i, (q, t, tier) in enumerate(zip(QUESTION, TRACE, tiers, strict=True))
    ]


def s1k() -> list[dict]:
    rows = [
        {
            "solution": "1",
            "question": q,
            "cot_type": "math",
            "source_type": "marbles",
            "metadata": "{}",
            "gemini_thinking_trajectory": "Not this one.",
            "gemini_attempt": "2",
            "deepseek_thinking_trajectory": t,
            "deepseek_attempt": "So \\boxed{1}.",
            "gemini_grade": "No",
            "gemini_grade_reason": "",
            "deepseek_grade": "Yes",
            "deepseek_grade_reason": "",
        }
        for q, t in zip(QUESTION, TRACE, strict=True)
    ]
    rows[3] |= {"deepseek_grade": "No", "deepseek_thinking_trajectory": "A graded mistake."}
    return rows


ROWS: dict[str | None, Callable[[], list[dict]]] = {
    "openai/gsm8k": gsm8k,
    "open-r1/OpenR1-Math-220k": openr1,
    "G2RPO-A/Math-Curriculum-1K": curriculum,
    "simplescaling/s1K-1.1": s1k,
}


@dataclass(frozen=True)
class Family:
    """What of a model family decides how a prompt looks: architecture, template, special tokens, and how a prompt ends."""

    kind: str
    template: str | None
    special: tuple[str, ...]
    plain: tuple[str, ...]
    eos: str
    pad: str | None
    bos: str | None
    prompt_begins: str
    prompt_ends: str


def qwen3(eos: str) -> Family:
    return Family(
        "qwen3",
        "qwen3",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        ("<think>", "</think>"),
        eos,
        "<|endoftext|>",
        None,
        "<|im_start|>",
        "<|im_end|>\n<|im_start|>assistant\n",
    )


LLAMA = Family(
    "llama",
    "llama3_2",
    ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    (),
    "<|eot_id|>",
    None,
    "<|begin_of_text|>",
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n<|eot_id|>",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
)
DEEPSEEK = Family(
    "qwen2",
    "deepseek_r1_distill",
    ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    ("<think>", "</think>", "<｜User｜>", "<｜Assistant｜>"),
    "<｜end▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜begin▁of▁sentence｜>",
    "<｜begin▁of▁sentence｜><｜User｜>There are",
    "<｜Assistant｜><think>\n",
)


def family(model: str) -> Family:
    """The real thing behind a hub name. Qwen3's base models end a text with another token than the chat models."""
    if "DeepSeek" in model:
        return DEEPSEEK
    if "Llama" in model:
        return LLAMA
    return qwen3("<|endoftext|>" if model.endswith("-Base") else "<|im_end|>")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """`tiny("Qwen/Qwen3-0.6B")`: a checkpoint folder of that family, about 50 k parameters."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from tests.conftest import tiny_config

    @cache
    def build(which: Family) -> str:
        base = Tokenizer(models.BPE())
        base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        base.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=list(which.special),
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        texts = ["\n".join(LINES[name]) for name in ALL] + QUESTION * 20 + TRACE * 20
        base.train_from_iterator(texts, trainer)
        base.add_tokens([AddedToken(t, special=False, normalized=False) for t in which.plain])
        if which.bos:  # like the real ones: encoding a text adds BOS unless told not to
            place = (which.bos, base.token_to_id(which.bos))
            base.post_processor = processors.Sequence(
                [
                    processors.ByteLevel(trim_offsets=False),
                    processors.TemplateProcessing(single=f"{which.bos} $A", special_tokens=[place]),
                ]
            )
        template = (Path(trl.__file__).parent / "chat_templates" / f"{which.template}.jinja").read_text()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=base,
            eos_token=which.eos,
            pad_token=which.pad,
            bos_token=which.bos,
            chat_template=template,
            padding_side="left",
            model_max_length=4096,
        )
        folder = tmp_path_factory.mktemp("tiny") / which.template
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(tiny_config(which.kind, tokenizer, max_position_embeddings=4096)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return str(folder)

    return lambda model: build(family(model))


@pytest.fixture
def flags(tmp_path, tiny):
    """`flags(name)`: what turns a recipe into two steps on the processor, with local data and a tiny model."""

    def build(name: str, batch: int) -> list[str]:
        values = read_yaml(path(name))
        if values.get("task"):
            tokens = ["--model_name_or_path", tiny("Qwen/Qwen3-0.6B"), "--task_size", "4", "--task_steps", "3"]
        else:
            file = tmp_path / "train.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[values["dataset_name"]]()))
            tokens = [
                "--model_name_or_path",
                tiny(values["model_name_or_path"]),
                "--dataset_name",
                "null",
                "--dataset_path",
                str(file),
            ]
        common = f"--max_steps 2 --warmup_steps 0 --per_device_train_batch_size {batch} --gradient_accumulation_steps 2 --save_strategy '\"no\"' "
        return [*tokens, *shlex.split(common), *CPU, "--output_dir", str(tmp_path / "run"), "--disable_tqdm", "true"]

    return build


def read_run(run: Path) -> tuple[list[dict], list[dict]]:
    steps = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    rollouts = [row for file in sorted((run / "rollouts").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    return steps, rollouts


@pytest.mark.parametrize("name", RL)
def test_two_steps_on_a_tiny_model_of_the_same_kind(name, flags, tmp_path):
    from g2rpo.training.run.train import train

    values = read_yaml(path(name))
    group = values["num_generations"]
    short = ["--max_completion_length", "96", "--use_vllm", "false"]
    recipe: Recipe = resolve(values, [*flags(name, group), *short])
    trainer = train(recipe, quiet=True)

    steps, rollouts = read_run(tmp_path / "run")
    assert [step["step"] for step in steps] == [1, 2]
    assert all(math.isfinite(step["metrics"]["loss"]) and math.isfinite(step["metrics"]["grad_norm"]) for step in steps)
    assert len(rollouts) == 2 * 2 * group
    args, tokenizer = recipe.training, trainer._tokenizer
    which = family(values["model_name_or_path"])
    problems = {problem.key: problem for problem in recipe.data.problems()}
    guided_rows = [row for row in rollouts if row["guided"]]
    members = guided_count(args.guidance_ratio, group) if args.guided else 0
    for row in rollouts:
        trace = problems[row["key"]].trace
        parts = [[t for t, o in zip(row["token_ids"], row["token_origin"], strict=True) if o == wanted] for wanted in range(3)]
        assert row["token_origin"] == [0] * len(parts[0]) + [1] * len(parts[1]) + [2] * len(parts[2])
        assert 1 <= len(parts[2]) <= 96 - len(parts[1])
        prompt, guidance = (tokenizer.decode(part, skip_special_tokens=False) for part in parts[:2])
        assert prompt.startswith(which.prompt_begins)
        assert prompt.endswith(which.prompt_ends)
        if which.bos:
            assert prompt.count(which.bos) == 1
        for told in (values.get("system_prompt"), values.get("instruction")):
            assert told is None or told in prompt
        assert row["guided"] == bool(parts[1]) <= (row["rollout_index"] < members)
        # What guidance says, whole: the block is opened once, by the template or by the guidance, and the trace follows.
        before = style(args.guidance_style).opened_by(prompt).before_trace
        if row["guided"]:
            assert trace is not None
            assert (before + trace).startswith(guidance)
            assert (prompt[-40:] + guidance).count("<think>") == (0 if args.guidance_style == "boxed" else 1)
            assert not set(parts[1]) & set(tokenizer.all_special_ids)
        if args.guidance_controller == "paper":  # 3,072 tokens at first: all of a short trace, for every guided member
            assert guidance == (before + trace if row["rollout_index"] < members else "") or row["generation"] > 0
    assert bool(guided_rows) == args.guided
    if args.guided:  # into the trace itself, not only the opening tag
        assert max(row["token_origin"].count(1) for row in guided_rows) > 3
    wanted = {"guidance/success/unguided", "guidance/tokens/sampled", "guidance/tokens/guidance", "guidance/tokens/sampled_total"}
    for step in steps:
        assert wanted <= step["metrics"].keys()
        assert args.guided or not step["controller"]
    assert sum(step["metrics"]["guidance/tokens/guidance"] for step in steps) == sum(
        o == 1 for r in rollouts for o in r["token_origin"]
    )
    if values.get("use_peft"):
        assert (tmp_path / "run" / "adapter_config.json").is_file()


def test_gsm8k_recipe_starts_on_the_whole_of_the_real_data(data_folder, tiny, tmp_path):
    from g2rpo.training.run.train import train

    name = "qwen3-1.7b-gsm8k-1gpu"
    few = "--max_steps 1 --per_device_train_batch_size 8 --gradient_accumulation_steps 1 --max_completion_length 320 --use_vllm false"
    files = ["--dataset_name", "null", "--dataset_path", str(data_folder / "gsm8k"), "--output_dir", str(tmp_path / "run")]
    flags = [*few.split(), *files, *CPU, "--model_name_or_path", tiny("Qwen/Qwen3-1.7B"), "--save_strategy", '"no"']
    report = train(resolve(read_yaml(path(name)), flags), quiet=True).data_report
    assert report.rows == report.checked == 7473
    assert report.without_trace < 10  # they open with their answer
    assert report.revealable_share > 0.8


@pytest.mark.parametrize("name", SFT)
def test_fine_tuning_takes_two_steps(name, flags, tmp_path):
    trainer = train_sft(resolve_sft(read_yaml(path(name)), flags(name, 2)), quiet=True)
    losses = [entry["train_loss"] for entry in trainer.state.log_history if "train_loss" in entry]
    assert trainer.state.global_step == 2
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    row = trainer.train_dataset[0]
    learned = [t for t in row["labels"] if t != -100]
    tokenizer = trainer.processing_class
    text = tokenizer.decode(learned).replace(" .", ".").replace("$1$", "1")  # GSM8K's marks leave a blank; OpenR1 has dollars
    assert text == f"<think>\n{TRACE[0]}\n</think>\n<answer>1</answer>{tokenizer.eos_token}"
    assert (tmp_path / "run" / "model.safetensors").is_file()


# ---------------------------------------------------------------------- what the sources make of those columns


@pytest.mark.parametrize("rows", [gsm8k, openr1, curriculum], ids=lambda rows: rows.__name__)
def test_sources_find_the_trace(rows, tmp_path):
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    problems = load_problems(path=str(file))
    assert [p.prompt for p in problems] == [[{"role": "user", "content": q}] for q in QUESTION]
    assert [" ".join(p.trace.replace(" .", ".").split()) for p in problems] == [" ".join(t.split()) for t in TRACE]
    assert {p.answer.strip("$") for p in problems} == {"1"}


def test_s1k_does_not_guide_by_a_trace_that_was_graded_wrong():
    rows = s1k()
    rows[1]["solution"] = "A long proof. " * 20  # prose: the attempt, graded as right, has the answer
    rows[2] |= {"solution": "A long proof. " * 20, "deepseek_attempt": "No box."}
    problems = [reader(list(row), None)(row) for row in rows]
    assert [p.trace for p in problems] == [TRACE[0], TRACE[1], None, None]
    assert [p.answer for p in problems] == ["1", "1", None, "1"]
