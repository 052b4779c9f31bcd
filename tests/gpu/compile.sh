#!/bin/sh
# Compiles the programs of the GPU tests into a folder, where there need be no GPU, and notes the hash of what was
# emitted, so that results tell what they are of.
# usage: MVCC=build/mvcc tests/gpu/compile.sh FOLDER [ARCHITECTURE]
set -eu
out=$1; architecture=${2:-sm_90a}
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
mkdir -p "$out"
program() {
  name=$1; model=$2; shift 2
  "$MVCC" "$root/models/$model" "$@" --gpu "$architecture" -o "$out/$name"
}
. "$here/programs.sh"
"$here/hash.sh" >"$out/hash"
# Rules with chains of reductions and with values of all blocks, for gradients against the host's (models.sh). Not in the
# hash: what they are made of is.
for rule in mhc hyper_dynamic attnres denseformer_full; do
  dit "rule-$rule" --set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 --set channels=8 --set patch=1 \
    --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=48 --set bf16=false --residual $rule
done
# The test rows of ops, each suite a file (tests/unit/ops_programs.h), and some random graphs.
rm -rf "$out/ops"
for test in test_ops test_random_graphs test_random_regions; do
  mkdir -p "$out/ops/$test"
  OPS_PROGRAMS="$out/ops/$test" OPS_ARCHITECTURE="$architecture" MVS_SEEDS=12 "$(dirname "$MVCC")/tests/$test" \
    >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
done
rm "$out/log"
