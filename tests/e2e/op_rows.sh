#!/bin/sh
# Test rows of ops as files for a GPU (tests/unit/ops_programs.h), without one: a few rows compile to cubins, and
# gpu_ops runs them with the host in the GPU's place. On a GPU tests/gpu/run.sh runs them all.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
ops() { MVCC_TEST_DEVICE=cpu "$BUILD/tests/gpu_ops" "$@"; }
for row in 'attention*' argument inv_rms select; do
  mkdir "$work/ops"
  OPS_PROGRAMS="$work/ops" "$BUILD/tests/test_ops" "$row" >"$work/log" 2>&1 || { echo "not ok $row compiles"; cat "$work/log"; continue; }
  ops "$work"/ops/*.ops >"$work/log" && good=$(grep -c '^ok ' "$work/log") || good=0
  if [ "$good" -ge 20 ]; then echo "ok $row: $good results"; else echo "not ok $row"; grep -v "^ok " "$work/log" || :; fi
  mv "$work/ops" "$work/last"; set -- "$work"/last/*.ops; cp "$1" "$work/kept.ops"; rm -r "$work/last"
done
# A file that is cut short is refused.
head -c 5000 "$work/kept.ops" >"$work/cut.ops"
if ops "$work/cut.ops" >"$work/log"; then echo "not ok a cut file is taken"; else echo "ok a cut file is refused"; fi
