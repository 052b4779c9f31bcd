#!/bin/sh
# Checks every kernel of the programs given (made with mvcc --gpu) on this machine's GPU, CUDA against host.
# usage: tests/gpu/run.sh GPU_CHECK PROGRAM...
set -u
check=$1; shift
failed=0
for program in "$@"; do
  for batch in 1 3 16; do
    echo "# $(basename "$program"), batch $batch"
    "$check" "$program" "$batch" || failed=1
  done
done
exit $failed
