#!/bin/sh
# Figures of this machine's GPU into a folder, for report.py: a block by the slope of two depths, each rule, each
# batch; its kernels; and, where PyTorch or JAX are, the same block there.
# usage: tests/gpu/figures.sh PROGRAMS RESULTS [block|peers]     programs made by tests/gpu/compile.sh; default: both
set -eu
programs=$1; results=$2; what=${3:-both}
here=$(cd "$(dirname "$0")" && pwd); bench=$here/../bench
python=${PYTHON:-python3}
mkdir -p "$results"
if [ "$what" != peers ]; then
  block() { # RULE BATCH...
    rule=$1; shift
    BENCH_OUT="$results/$rule" "$bench/block.sh" "$programs/bench-$rule-2" "$programs/bench-$rule-6" "$@" | tee "$results/$rule.txt"
  }
  block mvsplit 16 32 64 128
  SAMPLE_BATCH=0 block plain 16 128 # MV-Split's step is held against plain's
fi
if [ "$what" != block ] && "$python" -c 'import torch, jax' 2>/dev/null; then
  # shellcheck disable=SC2086
  "$python" "$bench/block_peers.py" --ours "$programs/bench-mvsplit-2" "$programs/bench-mvsplit-6" \
    --json "$results/peers.json" ${PEERS_OPTIONS:-16 128} | tee "$results/peers.txt"
fi
