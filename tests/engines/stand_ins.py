"""What examples/launch calls beyond this repository, on one machine: ssh, and Slurm's srun and scontrol."""

import os
from pathlib import Path

REMOTE = '#!/usr/bin/env bash\nexec bash -c "$2"\n'
"""ssh that stays here."""
SCONTROL = '#!/usr/bin/env bash\n[ "$1" = requeue ] && touch "$REQUEUED" || tr , "\\n" <<< "$3"\n'
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do [[ $1 != --ntasks=* ]] || tasks=${1#*=}; shift; done
trap 'kill $(jobs -p)' TERM
for ((i = 0; i < tasks; i++)); do SLURM_NODEID=$i "$@" & done
for ((i = 0; i < tasks; i++)); do wait -n || { status=$?; kill $(jobs -p); wait; exit $status; }; done
"""
"""Slurm's part: one task per node, and the end of all when one fails."""


def two_nodes_and_a_server(folder: Path, python: Path) -> dict[str, str]:
    """Writes the stand-ins; the environment of a launch with them, with the interpreter in the folder `python`."""
    for name, text in {"remote": REMOTE, "srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return {
        "PATH": os.pathsep.join([str(folder), str(python), os.environ["PATH"]]),
        "SETUP": ":",
        "PROCESSES": "1",
        "TRAINERS": "127.0.0.1 127.0.0.1",
        "SERVER": "127.0.0.1",
        "REMOTE": str(folder / "remote"),
        "REQUEUED": str(folder / "requeued"),
        "SLURM_JOB_NODELIST": "localhost,localhost,localhost",
        "SLURM_JOB_ID": "1",
    }
