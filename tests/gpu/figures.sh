#!/bin/sh
# Figures of this machine's GPU into a folder, for report.py.
# usage: tests/gpu/figures.sh PROGRAMS RESULTS [PART...]     programs made by tests/gpu/compile.sh
#   compile    fills the caches of PyTorch, JAX and Triton, so that `peers` and `released` measure alone; a batch a process
#   block      a block by the slope of two depths, each rule, each batch; its kernels
#   peers      where PyTorch and JAX are, the same block there, beside what `block` found
#   released   the released code's block, where RELEASED names a checkout of erwold/mv-split
#   rules      whole steps of training: MV-Split and --means writer beside plain residuals, in turns
#   whole      the whole model: from start to the first step, and a step
# Default: all, in this order.
set -eu
programs=$1; results=$2; shift 2
[ $# -gt 0 ] || set -- compile block peers released rules whole
here=$(cd "$(dirname "$0")" && pwd); bench=$here/../bench
python=${PYTHON:-python3}; batches="16 32 64 128"
mkdir -p "$results"
export JAX_COMPILATION_CACHE_DIR="$results/jax-cache"
block() { # NAME BATCH...
  name=$1; shift
  BENCH_OPTIONS="--recompute none --seconds 0.15" BENCH_OUT="$results/$name" \
    "$bench/block.sh" "$programs/bench-$name-2" "$programs/bench-$name-6" "$@" | tee "$results/$name.txt"
}
peers() { # NAME OPTION...
  name=$1; shift
  "$python" "$bench/block_peers.py" --figures "$results/mvsplit/block.json" --json "$results/$name.json" "$@" |
    tee "$results/$name.txt"
}
compile() { # NAME OPTION...
  name=$1; shift
  "$python" "$bench/block_peers.py" --compile "$@" >"$results/compile-$name.txt" 2>&1 &
}
"$python" -c 'import torch, jax' 2>/dev/null && have_peers=yes || have_peers=
for part; do
  case $part in
    compile)
      [ -n "$have_peers" ] || continue
      for batch in $batches; do compile "$batch" --only inductor-graph,xla --sample 0 "$batch"; done
      compile sample --only inductor-graph,xla --sample 8
      [ -z "${RELEASED:-}" ] || compile released --released "$RELEASED" --only released-graph --sample 0 16
      wait ;;
    block)
      # shellcheck disable=SC2086
      block mvsplit $batches ;;
    rules) "$python" "$here/whole.py" "$results/rules.json" rules "$programs" plain mvsplit writer -- 16 128 ;;
    peers)
      # shellcheck disable=SC2086
      [ -z "$have_peers" ] || peers peers --only inductor-graph,xla $batches ;;
    released)
      [ -z "$have_peers" ] || [ -z "${RELEASED:-}" ] ||
        # shellcheck disable=SC2086
        peers released --released "$RELEASED" --only released-checkpointed,released-checkpointed-graph,released-graph \
          --sample 0 $batches ;;
    whole) "$python" "$here/whole.py" "$results/dit400.json" start "$programs/dit400" 16 ;;
    *) echo "figures.sh: there is no part '$part'" >&2; exit 2 ;;
  esac
done
