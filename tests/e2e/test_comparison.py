"""The smoke experiment, whole: arms in processes of their own, stages that share a budget, a kill, a resume, and what is
refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from g2rpo.cli.main import app
from g2rpo.errors import RunError
from g2rpo.lab.compare.comparison import RUNS
from g2rpo.lab.compare.experiment import read_experiment
from g2rpo.lab.compare.spec import RunResult
from g2rpo.lab.compare.treatment import check_runs
from g2rpo.lab.report.write import markdown_of, write_report
from tests.unit.test_report import check_page

SMOKE = Path(__file__).parents[2] / "recipes" / "experiments" / "smoke.yaml"


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The folder of the finished smoke comparison, killed once on the way."""
    folder = tmp_path_factory.mktemp("smoke")
    command = [sys.executable, "-m", "g2rpo", "compare", str(SMOKE), "--output", str(folder)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(folder.glob("runs/*/result.json")):
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)  # no chance to end its children
    first.wait()
    first.stdout.close()
    done = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/result.json")}
    second = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "(from before)" in second.stdout
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    return folder


@pytest.fixture(scope="module")
def summary(smoke):
    return json.loads((smoke / "comparison.json").read_text())


@pytest.mark.slow
def test_every_figure_has_its_interval(summary):
    [(task, block)] = summary["tasks"].items()
    assert task == "chains"
    assert set(block["arms"]) == {"base", "g2rpo", "sft-then-grpo"}
    for name, arm in block["arms"].items():
        for scored in (arm, arm["sets"]["longer"]):
            low, high = scored["ci95"]
            assert 0 <= low <= scored["accuracy"] <= high <= 1
        if name != "base":
            low, high = arm["iqm_ci95"]
            assert low <= arm["iqm"] <= high
            assert len(arm["accuracy_by_seed"]) == len(arm["took_off"]) == len(arm["held_best"]) == 2
            assert [s.count("1") / len(s) for s in arm["scores_by_seed"]] == arm["accuracy_by_seed"]
            assert set(arm["to_reach"]) == {"0.25", "final accuracy of sft-then-grpo"}
            assert list(arm["pass_at"]) == ["1", "2"]
            assert arm["pass_at"]["1"]["mean"] <= arm["pass_at"]["2"]["mean"]
    [difference] = block["differences"]
    assert (difference["ours"], difference["theirs"]) == ("g2rpo", "sft-then-grpo")
    assert difference["ci95"][0] <= difference["difference"] <= difference["ci95"][1]
    assert any("Only 2 seeds" in sentence for sentence in summary["findings"])
    assert {"took off", "held its best", "accuracy"} <= set(summary["definitions"])


@pytest.mark.slow
def test_the_budget_is_kept_and_the_stages_share_it(summary):
    arms = summary["tasks"]["chains"]["arms"]
    for name in ("g2rpo", "sft-then-grpo"):
        for spent, curve in zip(arms[name]["spent"]["sampled_tokens"], arms[name]["curves"], strict=True):
            assert 4000 <= spent < 6000
            assert curve[0][:2] == [0, 0]
            assert [c[0] for c in curve] == sorted(c[0] for c in curve)
            assert len(curve) >= 3
    for first, second in arms["sft-then-grpo"]["stages"]:
        assert (first["method"], second["method"]) == ("sft", "rl")
        assert 1000 <= first["spent"]["sampled_tokens"] < 2000
        assert first["spent"]["sampled_tokens"] + second["spent"]["sampled_tokens"] >= 4000
    assert arms["base"]["spent"]["sampled_tokens"] == [0]


def copied(smoke: Path, folder: Path):
    """Experiment, specs, results and folder of a copy that a test may spoil."""
    shutil.copytree(smoke / RUNS, folder / RUNS, ignore=shutil.ignore_patterns("*.safetensors", "*.parquet"))
    experiment = read_experiment(SMOKE)
    specs = experiment.runs()
    results = [RunResult(**json.loads((folder / RUNS / s.folder / "result.json").read_text())) for s in specs]
    return experiment, specs, results, folder / RUNS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "part", "name", "words"),
    [
        ("resolved.json", "training", "temperature", "temperature"),
        ("resolved.json", "data", "task_size", "task_size"),
        ("resolved.json", "training", "adam_beta2", "adam_beta2"),
        ("manifest.json", None, "questions_digest", "questions"),
        ("manifest.json", None, "versions", "versions"),
    ],
)
def test_arms_that_differ_in_more_than_the_treatment_are_refused(smoke, tmp_path, file, part, name, words):
    experiment, specs, results, root = copied(smoke, tmp_path)
    check_runs(experiment, specs, results, root)
    place = root / specs[-1].folder / "2-rl" / file
    facts = json.loads(place.read_text())
    (facts[part] if part else facts)[name] = "other"
    place.write_text(json.dumps(facts))
    with pytest.raises(RunError, match=words) as error:
        check_runs(experiment, specs, results, root)
    assert "declared treatment" in str(error.value)


@pytest.mark.slow
def test_a_run_that_did_not_spend_its_budget_is_refused(smoke, tmp_path):
    experiment, specs, results, root = copied(smoke, tmp_path)
    results[-1].spent["sampled_tokens"] = 3999
    with pytest.raises(RunError, match="raise max_steps"):
        check_runs(experiment, specs, results, root)


@pytest.mark.slow
def test_results_of_other_code_are_refused_unless_asked_for(smoke, tmp_path):
    _, specs, _, root = copied(smoke, tmp_path)
    place = root / specs[-1].folder / "result.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "code": "older"}))
    command = ["compare", str(SMOKE), "--output", str(tmp_path)]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, RunError | SystemExit)
    assert "no comparison" in str(refused.exception)
    kept = CliRunner().invoke(app, [*command, "--other-code", "keep"])
    assert kept.exit_code == 0, kept.output
    assert "older" in json.loads((tmp_path / "comparison.json").read_text())["code"]


@pytest.mark.slow
def test_a_run_that_fails_is_told_with_its_output(tmp_path):
    broken = yaml.safe_load(SMOKE.read_text())
    broken["shared"]["model_name_or_path"] = str(tmp_path / "nothing")
    (tmp_path / "broken.yaml").write_text(yaml.safe_dump(broken))
    done = CliRunner().invoke(app, ["compare", str(tmp_path / "broken.yaml"), "--output", str(tmp_path / "out"), "--jobs", "2"])
    assert isinstance(done.exception, RunError)
    assert "of 5 failed" in str(done.exception)  # how many were running by then is the machine's affair
    assert "log.txt" in str(done.exception)


@pytest.mark.slow
def test_its_page_and_its_tables(smoke, summary, tmp_path):
    page = write_report(smoke, tmp_path).read_text()
    check_page(page)
    assert {p.stem for p in (tmp_path / "figures").glob("*.svg")} == {
        f"{n}-chains" for n in ("accuracy", "differences", "pass", "course")
    }
    arm = summary["tasks"]["chains"]["arms"]["g2rpo"]
    assert f"{100 * arm['accuracy']:.1f} %" in page
    assert "⟦" in page  # a guided rollout with its prefix marked
    alone = shutil.copy(smoke / "comparison.json", tmp_path)  # without its runs: no courses, the same tables
    assert "course-chains" not in write_report(Path(alone), tmp_path / "alone").read_text()
    tables = markdown_of([smoke])
    assert f"| g2rpo | {100 * arm['accuracy']:.1f} % | {100 * arm['ci95'][0]:.1f} – {100 * arm['ci95'][1]:.1f} |" in tables
    assert "g2rpo − sft-then-grpo" in tables
