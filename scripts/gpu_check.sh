#!/bin/sh
# Measures pushcut on this machine's GPU: ten minutes, no network, one JSON record.
#   scripts/gpu_check.sh [--out gpu-check.json]          on a machine with an NVIDIA GPU
#   scripts/gpu_check.sh --tiny --device cpu             to try the script
# PYTHON chooses the interpreter; torch, numpy, jaxtyping, beartype, tyro, safetensors and tokenizers
# must be there. What else is missing (pytest, mujoco, metaworld, peft) is said in the record.
set -eu
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" OMP_WAIT_POLICY=PASSIVE
exec "${PYTHON:-python3}" benchmarks/gpu/check.py "$@"
