#!/usr/bin/env bash
# Everything that needs a GPU, in one call: build, tests, figures. Run at the repository's root on a machine with
# a CUDA device, after `uv sync` (or with any Python that has torch and this project: PYTHON=python3).
#
#     bash benchmarks/gpu.sh [folder for the logs]
set -uo pipefail
out=${1:-${OUT:-gpu-results}}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "no CUDA device: nothing to do here" >&2
    exit 1
fi

run() { # name, seconds at most, command
    local name=$1 limit=$2
    shift 2
    echo "== $name"
    timeout "$limit" "$@" >"$out/$name.log" 2>&1
    echo "exit code $?" | tee -a "$out/$name.log"
    tail -n 15 "$out/$name.log"
}

run doctor 60 "$python" -m mast3r_model doctor --json
run build-curope 180 "$python" -m curope.build --arch native
run tests-gpu 240 "$python" -m pytest -q -m gpu packages
run curope 90 "$python" benchmarks/curope_rope2d.py
run stages 150 "$python" benchmarks/stages.py --device cuda --pairs 8
run matching-loss 60 "$python" benchmarks/matching_loss.py --device cuda
run dense-matching 60 "$python" benchmarks/dense_matching.py --device cuda --precisions fp32 bf16
