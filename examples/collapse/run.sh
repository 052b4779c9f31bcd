#!/bin/sh
# The runs of docs/experiments.md: run.sh MVCC OUT gpu|cpu|late [OPTION...]. Every seed of every rule is a
# folder below OUT, and OUT/report.html shows them all. Options are the trainer's and count over those here.
#   gpu   128 blocks of width 128, batch 128: 36 runs of 150 steps, 9 s each on an H200
#   cpu   96 blocks of width 32, batch 8: 12 runs of 150 steps, 8 s each on a core
#   late  writers from zero and a rate that rises by 5e-6 a step: plain trains well, then falls. 12 runs, 60 s each
set -eu
mvcc=$1 out=$2 kind=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
compare() { "$mvcc" compare "$here/collapse.mvs" --seeds 3 --samples 0 -o "$out" "$@"; }
# What is told apart; then all controls with it.
pair() { compare --residual plain --residual 'mvsplit(beta = 1 / 16)' --residual 'layerscale(gamma = 1 / 16)' \
  --residual scalar_held "$@"; }
all() { pair --residual mvsplit --residual 'layerscale(gamma = 1e-2)' --residual unit_gate --residual unit_split \
  --residual scalar_gate --residual split_held --residual 'split_held(beta = 1)' --residual mean_held "$@"; }
case $kind in
gpu) all --gpu sm_90a -- train --seed 1 --steps 150 --diagnose 25 --anchors 0,16,32,64,96,127 "$@" ;;
cpu) pair --set depth=96 --set width=32 --set ffn=96 \
  -- train --seed 1 --steps 150 --batch 8 --diagnose 25 --anchors 0,24,48,72,95 "$@" ;;
late) pair --set depth=64 --set width=32 --set ffn=96 --set start=0 \
  -- train --seed 1 --steps 1600 --batch 16 --lr 1.2e-2 --warmup 2400 --diagnose 10 --anchors 0,4,16,32,48,63 "$@" ;;
*) echo "run.sh: gpu, cpu or late, not $kind" >&2; exit 2 ;;
esac
