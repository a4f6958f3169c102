"""The demo, at a hundredth of its budget: every arm runs, the page and `comparison.json` hold the same numbers."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.lab import demo


@pytest.mark.slow
def test_the_demo_runs_every_arm_and_writes_its_figures(tmp_path, monkeypatch):
    small = yaml.safe_load(demo.EXPERIMENT.read_text())
    small |= {"budget": {"sampled_tokens": 1200}, "evaluation": {"problems": 32, "points": 2}}
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setattr(demo, "EXPERIMENT", tmp_path / "demo.yaml")
    done = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--seeds", "1", "--jobs", "2"])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "comparison.json").read_text())
    [arms] = [block["arms"] for block in summary["tasks"].values()]
    assert set(arms) == {"base", "grpo", "g2rpo-a-paper", "g2rpo", "sft"}
    assert summary["budget"] == {"kind": "sampled_tokens", "amount": 1200}
    for name in ("grpo", "g2rpo-a-paper", "g2rpo", "sft"):
        assert 1200 <= arms[name]["spent"]["sampled_tokens"][0] < 3000
    short = json.loads((tmp_path / "demo.json").read_text())
    assert short["budget_sampled_tokens"] == 1200
    assert {n: (a["accuracy"], a["ci95"]) for n, a in short["arms"].items()} == {
        n: (a["accuracy"], a["ci95"]) for n, a in arms.items()
    }
    page = (tmp_path / "report.html").read_text()
    assert f"{100 * arms['g2rpo']['accuracy']:.1f} %" in page
    assert "<svg" in page
    assert (tmp_path / "figures" / "accuracy-chains.png").stat().st_size > 1000
    # What is done is not done again, and the same results give the same page.
    again = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--seeds", "1"])
    assert again.exit_code == 0
    assert (tmp_path / "report.html").read_text() == page
