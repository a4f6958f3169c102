#!/usr/bin/env bash
# A run on several nodes under Slurm: training on all but the last, which serves vLLM. From a clone that all nodes see, with an
# environment in it:
#
#   sbatch examples/launch/slurm.sh train recipes/qwen3-1.7b-base-math.yaml --gradient_accumulation_steps 4
#
# A job that fails, or whose node does, is queued again and goes on from the last whole checkpoint (--resume auto). SERVER_WAIT: seconds
# that the trainers wait for the server to start (1800).
#SBATCH --job-name=g2rpo
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=7
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
status=0
: "${SERVER_FLAGS:=--model Qwen/Qwen3-1.7B-Base --dtype bfloat16 --max-model-len 6144}" "${TRIES:=5}"
eval "${SETUP:-source .venv/bin/activate}"
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
server=${nodes[-1]}
trainers=$(IFS=,; echo "${nodes[*]:0:${#nodes[@]}-1}")
export NODES=$((${#nodes[@]} - 1)) MAIN=${nodes[0]} PROCESSES=${PROCESSES:-7}

srun --nodes=1 --ntasks=1 --nodelist="$server" examples/launch/server.sh $SERVER_FLAGS &
serving=$!
srun --nodes="$NODES" --ntasks="$NODES" --nodelist="$trainers" --kill-on-bad-exit=1 examples/launch/node.sh "$@" --resume auto \
  --use_vllm true --vllm_mode server --vllm_server_base_url "http://$server:${SERVER_PORT:-8000}" \
  --vllm_server_timeout "${SERVER_WAIT:-1800}" &
training=$!
wait -n -p ended "$serving" "$training" || status=$?
if [ "$ended" = "$serving" ]; then  # nobody samples any more
  echo "The server on $server has ended." >&2
  status=$((status ? status : 1))
fi
kill "$serving" "$training" 2> /dev/null || true
wait
if ((status && ${SLURM_RESTART_COUNT:-0} < TRIES)); then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
