"""Runs the matrix in parallel processes, skips what is done, and keeps the others going when one fails."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from g2rpo.errors import RunError
from g2rpo.lab.compare.arm_run import LOG, SPEC, read_result
from g2rpo.lab.compare.live_table import Progress
from g2rpo.lab.compare.spec import RunResult, RunSpec, source_digest
from g2rpo.training.run.lock import locked

POLL_S = 0.25
HOPELESS = 2
"""After so many failures and no success, no more runs are started."""
OTHER_CODE = ("refuse", "redo", "keep")


def run_all(specs: Sequence[RunSpec], root: Path, jobs: int, progress: Progress, other_code: str = "refuse") -> list[RunResult]:
    """Results in the order of the specs. What a kill left unfinished starts anew; what is finished stands.

    Args:
        root: Folder of the runs.
        jobs: Runs at a time.
        progress: Is told of every evaluation and every end.
        other_code: Finished runs of other code than the present one are refused, done again, or kept (both then stand in the
        record).

    Raises:
        RunError: a run's process failed (the others are finished first), results of other code, or another comparison at work
        here.
    """
    with locked(root, "output"), progress:
        waiting = [s for s in specs if not _done(root / s.folder, other_code)]
        for spec in specs:
            if spec not in waiting:
                progress.finished(spec, read_result(root / spec.folder))
        failed = _run(waiting, root, jobs, progress)
    if failed:
        log = root / failed[0].folder / LOG
        raise RunError(
            f"arm {failed[0].arm!r} on {failed[0].task!r}, seed {failed[0].seed}",
            expected="a run that ends well",
            then=f"{len(failed)} of {len(specs)} failed; what was finished is on disk. Its output is in {log}, and ends: "
            f"{log.read_text(errors='replace')[-600:]!r}",
        )
    return [read_result(root / s.folder) for s in specs]


def _done(folder: Path, other_code: str) -> bool:
    result = read_result(folder)
    if result is None or result.code == source_digest() or other_code == "keep":
        return result is not None
    if other_code == "redo":
        return False
    raise RunError(
        f"result in {folder}",
        result.code,
        expected=f"a run of the present code, {source_digest()}",
        then="Runs of different code are no comparison. Use --other-code redo to run it again, or --other-code keep "
        "if the difference cannot matter.",
    )


def _run(waiting: list[RunSpec], root: Path, jobs: int, progress: Progress) -> list[RunSpec]:
    running: dict[subprocess.Popen, RunSpec] = {}
    seen: dict[str, int] = {}
    failed: list[RunSpec] = []
    succeeded = 0
    try:
        while waiting or running:
            if len(failed) >= HOPELESS and not succeeded:
                waiting.clear()  # what is wrong is wrong with all of them
            while waiting and len(running) < jobs:
                spec = waiting.pop(0)
                running[_start(spec, root / spec.folder)] = spec
                progress.started(spec)
            time.sleep(POLL_S)
            for process, spec in list(running.items()):
                over = process.poll() is not None
                points = _points(root / spec.folder / LOG)
                for point in points[seen.get(spec.folder, 0) :]:
                    progress.point(spec, point)
                seen[spec.folder] = len(points)
                if over:
                    del running[process]
                    result = read_result(root / spec.folder) if process.returncode == 0 else None
                    progress.finished(spec, result)
                    succeeded += result is not None
                    if result is None:
                        failed.append(spec)
            progress.tick()
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()
    return failed


def _start(spec: RunSpec, folder: Path) -> subprocess.Popen:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / SPEC).write_text(json.dumps(asdict(spec), indent=2))
    threads = {"OMP_NUM_THREADS": str(spec.threads), "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    with (folder / LOG).open("w") as log:
        command = [sys.executable, "-m", "g2rpo.lab.compare.arm_run", str(folder), str(os.getpid())]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **threads})


def _points(log: Path) -> list[dict]:
    """Evaluations in a run's log so far; a line that is still being written is none."""
    lines = log.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"spent"') and line.endswith("}")]
