#!/usr/bin/env bash
# What runs on each training node of a run on several; ssh.sh and slurm.sh start it. Arguments: a command of g2rpo, `train RECIPE …`.
#
#   NODES, NODE    how many nodes train, and which of them this is, from 0 (under Slurm: SLURM_NODEID)
#   PROCESSES      processes on each node, one a GPU
#   MAIN, PORT     address of node 0, and a free port there (29500)
#   LAUNCH         launch configuration (recipes/accelerate/zero2.yaml)
#   LAUNCH_FLAGS   further flags of accelerate launch
set -euo pipefail
exec python -m accelerate.commands.launch --config_file "${LAUNCH:-recipes/accelerate/zero2.yaml}" \
  --num_machines "$NODES" --machine_rank "${NODE:-$SLURM_NODEID}" --num_processes $((NODES * PROCESSES)) \
  --main_process_ip "$MAIN" --main_process_port "${PORT:-29500}" ${LAUNCH_FLAGS:-} -m g2rpo "$@"
