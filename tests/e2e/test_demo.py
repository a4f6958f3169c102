"""The demo, at a hundredth of its budget: every arm runs, the page and `demo.json` hold the same numbers."""

import json

import pytest
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.comparison import demo


@pytest.mark.slow
def test_the_demo_runs_every_arm_and_writes_its_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "HELD_OUT", 32)
    monkeypatch.setattr(demo, "BUDGET", 1200)
    monkeypatch.setitem(demo.SHARED, "max_sampled_tokens", 1200)
    done = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--seeds", "1", "--jobs", "2"])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "demo.json").read_text())
    assert set(summary["arms"]) == {"base", "grpo", "g2rpo-a-paper", "g2rpo", "sft"}
    assert summary["budget_sampled_tokens"] == 1200
    for name, arm in summary["arms"].items():
        low, high = arm["ci95"]
        assert 0 <= low <= arm["accuracy"] <= high <= 1, name
    for name in ("grpo", "g2rpo-a-paper", "g2rpo"):
        assert 1200 <= summary["arms"][name]["sampled_tokens"][0] < 2400
    assert summary["arms"]["sft"]["trained_tokens"][0] >= 1200
    assert summary["seeds"] == 1
    page = (tmp_path / "demo.html").read_text()
    assert f"{summary['arms']['g2rpo']['accuracy']:.1%}" in page
    assert "<svg" in page
    assert (tmp_path / "demo.png").stat().st_size > 1000
    # What is done is not done again, and the same results give the same page.
    again = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--seeds", "1"])
    assert again.exit_code == 0
    assert (tmp_path / "demo.html").read_text() == page


def test_the_findings_say_who_lost(monkeypatch):
    from g2rpo.comparison.arm import ArmResult

    def runs(name, rate):
        return [ArmResult(name, s, [float(i % 10 < 10 * rate) for i in range(100)], rate, [], 0, 0, 0.0, 0) for s in range(2)]

    by_name = {"base": runs("base", 0.0), "grpo": runs("grpo", 0.5), "g2rpo-a-paper": runs("g2rpo-a-paper", 0.1),
               "g2rpo": runs("g2rpo", 0.9), "sft": runs("sft", 0.9)}  # fmt: skip
    text = " ".join(demo.findings(by_name))
    assert "g2rpo-a-paper loses to grpo: -40.0 points" in text
    assert "g2rpo beats grpo: +40.0 points" in text
    assert "g2rpo cannot be told from sft" in text
    assert "2 seeds stand behind" in text
