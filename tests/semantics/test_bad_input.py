"""Everything wrong with rows, tokenizer or model is a sentence before training starts, not a crash in its middle."""

import copy
import json

import pytest
from datasets import Dataset, IterableDataset

from g2rpo.errors import ConfigError, DataError, G2RPOError
from g2rpo.training.run.recipe import resolve
from g2rpo.training.run.train import train
from g2rpo.training.sft import resolve_sft, train_sft
from tests.semantics.conftest import table


def test_good_input_is_taken(build):
    report = build(table()).data_report
    assert (report.rows, report.checked, report.without_trace) == (4, 4, 0)
    assert report.trace_tokens_max >= report.trace_tokens_median > 0
    assert report.revealable_share == 1


# --- the data


def test_no_trace_column(build):
    with pytest.raises(
        DataError,
        match=r"column 'trace'\. Expected it among the columns prompt, answer\..*guidance_trace_column.*guidance_controller: none",
    ):
        build(table(trace=None))


def test_the_nearest_column_is_offered(build):
    with pytest.raises(DataError, match=r"column 'trace'.*Did you mean 'traces'"):
        build(table().rename_column("trace", "traces"))


def test_no_prompt_column(build):
    with pytest.raises(DataError, match=r"column 'prompt'.*Name the question's column `prompt`"):
        build(table().rename_column("prompt", "text"))


def test_no_answer_column(build):
    with pytest.raises(
        DataError,
        match=r"column 'answer'.*The leak guard needs the answer: .* set guidance_answer_column; or set guidance_leak_guard to off",
    ):
        build(table(answer=None))


def test_other_column_names_can_be_set(build):
    data = table().rename_columns({"trace": "solution", "answer": "final"})
    assert build(data, guidance_trace_column="solution", guidance_answer_column="final").planner is not None


def test_without_a_guard_no_answer_is_needed(build):
    assert build(table(answer=None), guidance_leak_guard="off").planner is not None


@pytest.mark.parametrize("empty", ["", "  \n", None], ids=["nothing", "blanks", "null"])
def test_an_empty_trace(build, empty):
    data = table(trace=lambda i: empty if i in (1, 3) else "1+1=2")
    with pytest.raises(
        DataError,
        match=r"column 'trace', rows 2 and 4 \(counted from 1\) is ''. Expected a reasoning trace in every row.*guidance_missing_trace",
    ):
        build(data)
    assert build(data, guidance_missing_trace="unguided").data_report.without_trace == 2


def test_a_trace_that_is_empty_between_its_tags(build):
    with pytest.raises(DataError, match="trace"):
        build(table(trace=lambda i: "<think>\n</think>" if i == 2 else "1+1=2"))


def test_no_usable_trace_at_all(build):
    with pytest.raises(DataError, match=r"Expected a usable trace in at least one row.*guidance_controller: none"):
        build(table(trace=lambda i: ""), guidance_missing_trace="unguided")


def test_a_trace_that_is_a_list(build):
    with pytest.raises(DataError, match=r"column 'trace' of row 1 \(counted from 1\) is \['a', 'b'\]. Expected a string"):
        build(table(trace=lambda i: ["a", "b"]))


@pytest.mark.parametrize("trace", ["57", "57 is it", "Answer: 57", "\\boxed{57}"])
def test_a_trace_that_only_contains_the_answer(build, trace):
    data = table(trace=lambda i: trace if i == 2 else "1+1=2", answer=lambda i: "57")
    with pytest.raises(DataError, match=r"trace of row .* is .*Expected reasoning before the answer '57' first appears"):
        build(data, guidance_style="boxed")
    assert build(data, guidance_style="boxed", guidance_missing_trace="unguided").data_report.without_trace == 1


def test_a_few_traces_that_open_with_the_answer_are_not_shown(build, caplog):
    data = table(40, trace=lambda i: "57" if i == 30 else "1+1=2", answer=lambda i: "57")
    assert build(data).data_report.without_trace == 1
    assert "trace of row 31 (counted from 1): expected reasoning before the answer" in caplog.text


def test_a_trace_that_only_announces_the_answer(build):
    with pytest.raises(DataError):
        build(table(trace=lambda i: "The answer is 57", answer=lambda i: "57"), guidance_style="boxed")


def test_a_trace_that_only_contains_the_answer_behind_a_think_tag(build):
    data = table(trace=lambda i: "57" if i == 2 else "1+1=2", answer=lambda i: "57")
    with pytest.raises(DataError, match=r"Expected reasoning before the answer '57' first appears"):
        build(data)


def test_a_missing_answer(build):
    data = table(answer=lambda i: None if i == 3 else "50")
    with pytest.raises(DataError, match=r"column 'answer' of row 4 \(counted from 1\) is None. Expected the final answer"):
        build(data)


def test_an_empty_set(build):
    with pytest.raises(DataError, match=r"training set. Expected at least one row"):
        build(table().select([]))


def test_an_empty_set_without_columns(build):
    with pytest.raises(DataError, match="at least one row"):
        build(Dataset.from_list([]))


def test_an_empty_answer(build):
    with pytest.raises(DataError, match="answer"):
        build(table(answer=lambda i: "" if i == 3 else "50"))


def test_an_answer_that_is_not_a_number(build):
    with pytest.raises(DataError, match=r"column 'answer' of row 4 \(counted from 1\) is nan. Expected the final answer"):
        build(table(answer=lambda i: float("nan") if i == 3 else 50.0))


def test_every_trace_shorter_than_a_fixed_length(build):
    with pytest.raises(ConfigError, match=r"length is 400. Expected at most \d+ tokens, the longest prefix that any trace"):
        build(table(), guidance_controller="fixed", guidance_controller_kwargs={"length": 400})


def test_some_traces_shorter_than_a_fixed_length_are_cut(build):
    data = table(trace=lambda i: "1+1=2" if i else "1+1=2 and so on and on")
    assert build(data, guidance_controller="fixed", guidance_controller_kwargs={"length": 9}).planner is not None


def test_traces_longer_than_the_budget(build):
    with pytest.raises(
        ConfigError, match=r"max_completion_length is 8. Expected room for a trace and its answer; 4 of 4 traces do not fit"
    ):
        build(table(), max_completion_length=8)


def test_a_prompt_longer_than_the_models_room(build):
    data = table(prompt=lambda i: [{"role": "user", "content": "word " * (600 if i == 2 else 1)}])
    with pytest.raises(DataError, match=r"prompt of row .* tokens'. Expected at most 464: the model has room for 512.*takes 48"):
        build(data)


def test_an_iterable_set_is_checked_too(build):
    rows = [dict(r) for r in table()]
    good = IterableDataset.from_generator(lambda: iter(rows))
    assert build(good).data_report.checked == 4
    with pytest.raises(DataError, match="column 'trace'"):
        build(IterableDataset.from_generator(lambda: ({"prompt": r["prompt"], "answer": "1"} for r in rows)))
    with pytest.raises(DataError):
        build(IterableDataset.from_generator(lambda: ({**r, "trace": "57", "answer": "57"} for r in rows)))


def test_an_empty_trace_in_an_iterable_set(build):
    rows = [dict(r) for r in table(trace=lambda i: "" if i == 2 else "1+1=2")]
    with pytest.raises(DataError):
        build(IterableDataset.from_generator(lambda: iter(rows)))


# --- the tokenizer


def test_a_tokenizer_without_eos(build, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.eos_token = None
    with pytest.raises(ConfigError, match=r"tokenizer.eos_token_id is None. Expected a token.*Set tokenizer.eos_token"):
        build(table(), tok=other)


def test_a_tokenizer_without_pad_gets_one_before_training(build, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.pad_token = None
    assert build(table(), tok=other)._tokenizer.pad_token_id is not None  # TRL takes the EOS


@pytest.mark.parametrize("controller", ["profile", "none"])
def test_conversations_without_a_chat_template(build, tokenizer, controller):
    other = copy.deepcopy(tokenizer)
    other.chat_template = None
    with pytest.raises(ConfigError, match=r"chat template of the model's tokenizer is None. Expected one: the prompts are conv"):
        build(table(), tok=other, guidance_controller=controller)
    assert build(table(prompt=lambda i: f"question {i}"), tok=other, guidance_controller=controller) is not None


def test_a_chat_template_that_refuses_the_conversation(build, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.chat_template = "{{ raise_exception('no users here') }}"
    with pytest.raises(ConfigError, match=r"chat template is 'TemplateError: no users here'. Expected one that takes \['user'\]"):
        build(table(), tok=other)


# --- a recipe whose model or data will not do: nothing is left behind


@pytest.fixture
def refused(tmp_path):
    """`refused(match, **fields)`: train and sft say so, and leave no directory."""

    def run(match, ways=("train", "sft"), **fields):
        given = {
            "task": "chains",
            "task_size": 8,
            "task_steps": 2,
            "output_dir": str(tmp_path / "new" / "run"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            **fields,
        }
        for way in ways:
            with pytest.raises(G2RPOError, match=match):
                train(resolve(given), quiet=True) if way == "train" else train_sft(resolve_sft(given), quiet=True)
            assert not (tmp_path / "new").exists()

    return run


def test_a_folder_without_a_model(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(r"model is '.*empty'. Expected a folder with config.json", model_name_or_path=str(tmp_path / "empty"))
    refused(r"model is '.*gone'. Expected an existing folder", model_name_or_path=str(tmp_path / "gone"))


def test_a_model_without_a_tokenizer(refused, make_model, tmp_path):
    make_model().save_pretrained(tmp_path / "bare")
    refused(
        r"tokenizer of .*bare. Expected its files beside the weights.*Save it there", model_name_or_path=str(tmp_path / "bare")
    )


def test_a_model_without_a_chat_template(refused, make_model, tokenizer, tmp_path):
    other = copy.deepcopy(tokenizer)
    other.chat_template = None
    make_model().save_pretrained(tmp_path / "base")
    other.save_pretrained(tmp_path / "base")
    model = str(tmp_path / "base")
    refused(r"chat template of the model's tokenizer.*Set prompt_format to text for a base model", model_name_or_path=model)
    # The advice, taken; a mapped column would be a conversation again.
    lines = [json.dumps({"prompt": f"{i}+1=", "q": f"{i}+1?", "answer": str(i + 1), "trace": "one more"}) for i in range(8)]
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    data = {"task": None, "dataset_path": str(tmp_path / "mine.jsonl"), "rewards": ["exact"], "model_name_or_path": model}
    refused("chat template of the model's tokenizer", columns={"prompt": "q"}, **data)
    fields = {"max_steps": 1, "per_device_train_batch_size": 8, "max_completion_length": 32, "guidance_leak_guard": "off"}
    given = {"output_dir": str(tmp_path / "run"), "use_cpu": True, "bf16": False, "report_to": "none", **data, **fields}
    assert train(resolve(given), quiet=True).state.global_step == 1


def test_data_without_what_guidance_needs_point_to_the_recipe(refused, tmp_path):
    file = tmp_path / "mine.jsonl"
    fields = {"task": None, "dataset_path": str(file), "columns": {"prompt": "q"}}
    file.write_text("".join(f'{{"q": "q{i}", "final": "{i}", "worked": "t"}}\n' for i in range(8)))
    refused(
        r"^column 'trace'\. Expected it among.*columns: \{prompt: question, answer: final, trace: sol", ways=["train"], **fields
    )
    fields["columns"] = {"prompt": "q", "trace": "worked"}
    refused(r"^column 'answer'\. Expected it among.*columns: \{prompt", ways=["train"], **fields)
    file.write_text("".join(f'{{"q": "q{i}", "final": "{i}", "worked": ""}}\n' for i in range(8)))
    fields["columns"] = {"prompt": "q", "answer": "final", "trace": "worked"}
    refused(r"^column 'worked' for the trace is 'empty in all 8 rows'.*Fill it, name another", ways=["train"], **fields)
