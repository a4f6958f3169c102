"""Real vLLM on a processor: token by token, log-probabilities, weights that arrive, LoRA; in this process and as a server."""

import json

import pytest

from g2rpo.models import resolve_model
from tests.engines.conftest import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`trained(*flags)`: what `vllm_run` wrote."""

    def train(*flags: str) -> dict:
        out = tmp_path_factory.mktemp("vllm") / "result.json"
        done = run("-m", "tests.engines.vllm_run", str(out), *flags)
        assert "Traceback" not in done.stderr  # the engine ends in order
        return json.loads(out.read_text())

    return train


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


def agreement(answers: dict) -> float:
    return sum(a == b for a, b in zip(answers["engine"], answers["model"], strict=True)) / len(answers["engine"])


def check(result: dict, median: float, p99: float) -> None:
    rows = result["rows"]
    assert all(row["matches"] for row in rows)  # the engine went on from the exact ids of prompt and prefix
    assert not any(row["ends_early"] for row in rows)  # the end of a turn in a trace is text
    assert {row["guided"] for row in rows} == {0, 7}
    assert max(row["length"] for row in rows) <= 96
    assert result["inside_words"] > 0
    assert quantile(result["differences"], 0.5) < median
    assert quantile(result["differences"], 0.99) < p99
    assert agreement(result["after"]) >= 0.95
    assert result["before"]["engine"] != result["after"]["engine"]  # the weights arrived


def test_colocate_1000_rows(trained):
    result = trained("--steps", "32")
    assert len(result["rows"]) == 1024
    check(result, 2e-6, 1e-5)
    assert all(abs(ratio - 1) < 1e-2 for ratio in result["ratios"])  # nothing to correct, and no sequence is masked


def test_colocate_lora(trained):
    check(trained("--lora"), 5e-6, 1e-3)


def test_colocate_with_the_samplers_own_log_probabilities(trained):
    result = trained("--reuse")
    assert max(result["differences"]) == 0.0  # the old policy's are the engine's
    assert agreement(result["after"]) >= 0.95


def test_server(trained, server):
    check(trained("--server", server(resolve_model("builtin"))), 2e-6, 1e-5)


def test_colocate_smollm2(trained, smollm2):
    result = trained("--model", smollm2, "--steps", "1")
    assert all(row["matches"] for row in result["rows"])
    assert agreement(result["after"]) >= 0.95
    assert quantile(result["differences"], 0.99) < 1e-4
