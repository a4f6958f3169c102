#!/usr/bin/env bash
# A run on several nodes, over ssh. From a clone that all nodes see under one path, with an environment in it:
#
#   TRAINERS="node1 node2" SERVER=node3 PROCESSES=7 \
#     SERVER_FLAGS="--model Qwen/Qwen3-1.7B-Base --dtype bfloat16 --max-model-len 6144" \
#     examples/launch/ssh.sh train recipes/qwen3-1.7b-base-math.yaml --gradient_accumulation_steps 4
#
# Without SERVER nothing serves. `--resume auto` goes on from the last whole checkpoint, where there is one: after a failure give the
# same command again, with another node in the place of a dead one. When a node fails, the server ends, or this script ends, all others
# end.
#
#   SERVER_WAIT  seconds that the trainers wait for the server to start (1800)
#   SETUP    what a shell needs on each node (source .venv/bin/activate); its last words go in front of a command
#   REMOTE   how a command is run on a node (ssh -tt), called as: REMOTE NODE COMMAND
set -euo pipefail
declare -A left=()
read -ra nodes <<< "$TRAINERS"
export NODES=${#nodes[@]} MAIN=${nodes[0]} PROCESSES
passed=(NODES MAIN PROCESSES PORT LAUNCH LAUNCH_FLAGS SERVER_PORT ON_PROCESSOR)

on() {  # NODE COMMAND…: in the background; $! is its process
  local node=$1 line="cd ${PWD@Q} && ${SETUP:-source .venv/bin/activate} && exec env"
  for name in "${passed[@]}"; do [ -z "${!name:-}" ] || line+=" $name=${!name@Q}"; done
  ${REMOTE:-ssh -tt} "$node" "$line ${*:2}" < /dev/null &
}

trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT
trap 'exit 143' TERM INT HUP
command=("$@" --resume auto)
if [ -n "${SERVER:-}" ]; then
  on "$SERVER" examples/launch/server.sh "$SERVER_FLAGS"
  server=$!
  command+=(--use_vllm true --vllm_mode server --vllm_server_base_url "http://$SERVER:${SERVER_PORT:-8000}"
    --vllm_server_timeout "${SERVER_WAIT:-1800}")
fi
for i in "${!nodes[@]}"; do
  on "${nodes[i]}" NODE="$i" examples/launch/node.sh "${command[@]@Q}"
  left[$!]=1
done
while ((${#left[@]})); do
  wait -n -p ended ${server:-} "${!left[@]}"  # a failure ends this script, and with it the others
  [ "$ended" != "${server:-}" ] || { echo "The server on $SERVER has ended." >&2; exit 1; }
  unset "left[$ended]"
done
