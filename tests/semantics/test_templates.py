"""Think blocks open once and close once under the chat templates of Qwen3, Llama 3.2 and the DeepSeek-R1 distillates."""

import copy
from pathlib import Path

import pytest
import trl
from datasets import Dataset

from g2rpo import GuidedGRPOTrainer
from g2rpo.data.completion import full_completion, style
from g2rpo.data.tasks import make
from g2rpo.errors import ConfigError

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
SPECIAL = {
    "qwen3": [],
    "llama3_2": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "deepseek_r1_distill": ["<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],
}
EOS = {"qwen3": "<|im_end|>", "llama3_2": "<|eot_id|>", "deepseek_r1_distill": "<｜end▁of▁sentence｜>"}
KIND = {"qwen3": "qwen3", "llama3_2": "llama", "deepseek_r1_distill": "qwen2"}


@pytest.fixture(params=SPECIAL)
def name(request):
    return request.param


@pytest.fixture
def as_in(tokenizer):
    """`as_in("qwen3")`: a tokenizer with that family's control tokens and its template."""

    def build(name):
        other = copy.deepcopy(tokenizer)
        other.chat_template = (TEMPLATES / f"{name}.jinja").read_text()
        if SPECIAL[name]:
            other.add_special_tokens({"bos_token": SPECIAL[name][0], "eos_token": EOS[name]})
            other.add_special_tokens({"additional_special_tokens": SPECIAL[name]})
        return other

    return build


def reward(completions, **columns):
    return [len(c[0]["content"]) % 3 / 2 for c in completions]


@pytest.fixture
def make_trainer(as_in, make_model, rows, config):
    def build(name, data=None, **fields):
        tok = as_in(name)
        model = make_model(KIND[name], vocab_size=len(tok), eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
        defaults = {
            "guidance_controller": "fixed",
            "guidance_unit": "fraction",
            "max_completion_length": 64,
            "guidance_controller_kwargs": {"length": 1.0},
        }
        return GuidedGRPOTrainer(
            model, reward, config(**{**defaults, **fields}), rows(4) if data is None else data, processing_class=tok
        )

    return build


def first_start(trainer):
    row = trainer.train_dataset[0]
    ids = trainer._tokenize_prompts([row["prompt"]])[0][0]
    return row, trainer.planner.guided_prompt(row, ids, 0, trainer.controller_state, 0, 1)


def test_the_think_block_opens_once_right_before_the_trace(make_trainer, name):
    trainer = make_trainer(name)
    row, start = first_start(trainer)
    text = trainer._tokenizer.decode(start.prompt_ids + start.guidance_ids)
    assert text.count("<think>") == 1
    assert text.partition("<think>\n")[2].startswith(row["trace"][:8])
    prompt = trainer._tokenizer.decode(start.prompt_ids)
    assert ("<think>" in prompt) == (name == "deepseek_r1_distill")
    assert "<think>\n\n" not in text


def test_prompt_and_completion_together_are_what_the_model_should_write(make_trainer, name):
    trainer = make_trainer(name)
    tok = trainer._tokenizer
    problem = make("chains", "train", 4, steps=3)[0]
    prompt = tok.apply_chat_template(problem.prompt, add_generation_prompt=True, tokenize=False)
    whole = prompt + full_completion(problem, style("think_answer").opened_by(prompt))
    assert whole.endswith(f"<think>\n{problem.trace}\n</think>\n<answer>{problem.answer}</answer>")
    # and guidance is a beginning of it, in ids as well as in text
    _, start = first_start(trainer)
    assert whole.startswith(tok.decode(start.prompt_ids + start.guidance_ids))


def test_two_steps_of_training_run_under_every_template(make_trainer, name):
    trainer = make_trainer(name)
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("marker", sorted({m for ms in SPECIAL.values() for m in ms} | set(EOS.values())))
def test_no_familys_markers_in_a_trace_become_control_tokens(as_in, name, marker):
    from g2rpo.method.prefix import encode_plain

    tok = as_in(name)
    ids, _ = encode_plain(tok, f"one {marker} two")
    added = {i for t, i in tok.get_added_vocab().items() if t not in ("<think>", "</think>")}
    assert not set(ids) & added
    assert tok.decode(ids) == f"one {marker} two"


def test_thinking_switched_off_is_refused_for_a_style_that_thinks(make_trainer):
    with pytest.raises(
        ConfigError, match=r"guidance_style is 'think_answer'. Expected a style without a think block.*boxed.*enable_thinking"
    ):
        make_trainer("qwen3", chat_template_kwargs={"enable_thinking": False})


def test_thinking_switched_off_goes_with_a_style_that_does_not_think(make_trainer):
    trainer = make_trainer("qwen3", chat_template_kwargs={"enable_thinking": False}, guidance_style="boxed")
    row, start = first_start(trainer)
    text = trainer._tokenizer.decode(start.prompt_ids + start.guidance_ids)
    assert text.partition("<think>\n\n</think>\n\n")[2].startswith(row["trace"][:8])


def test_traces_that_bring_their_own_tags_get_no_second_pair(make_trainer, name):
    data = Dataset.from_list(
        [
            {"prompt": [{"role": "user", "content": f"q{i}"}], "trace": "<think>\nwell, so\n</think>\nIt is 7.", "answer": "7"}
            for i in range(4)
        ]
    )
    trainer = make_trainer(name, data)
    _, start = first_start(trainer)
    text = trainer._tokenizer.decode(start.prompt_ids + start.guidance_ids)
    assert text.endswith("<think>\nwell, so")
    assert text.count("<think>") == 1


def test_the_seam_is_the_same_ids_whether_or_not_the_template_opened_the_block(make_trainer):
    ids = {}
    for name in ("qwen3", "deepseek_r1_distill"):
        trainer = make_trainer(name)
        _, start = first_start(trainer)
        ids[name] = trainer._tokenizer.convert_ids_to_tokens(start.guidance_ids)
    opening = ids["qwen3"][: len(ids["qwen3"]) - len(ids["deepseek_r1_distill"])]
    assert ids["qwen3"] == opening + ids["deepseek_r1_distill"]


@pytest.mark.parametrize("style_name", ["boxed", "gsm8k"])
def test_a_style_that_never_closes_an_opened_block_is_refused(make_trainer, style_name):
    with pytest.raises(ConfigError, match="guidance_style"):
        make_trainer("deepseek_r1_distill", guidance_style=style_name)
