#!/bin/sh
# Everything that is tested on a GPU: each kernel against the host's, each test row of ops, whole models, sanitizers.
# usage: tests/gpu/run.sh GPU_CHECK FOLDER [LOG]      programs made by tests/gpu/compile.sh; LOG keeps what is printed
# gpu_ops lies beside gpu_check.
# The last line is "N passed, N failed"; 77 where there is no GPU.
set -u
check=$1; folder=$2; ops=$(dirname "$check")/gpu_ops
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -gt 2 ]; then log=$3; : >"$log"; else log=$(mktemp); trap 'rm -f "$log"' EXIT; fi
kernels() { # PROGRAM BATCH
  echo "# $1, batch $2, libraries ${MVCC_GPU_LIBRARIES:-on}" >>"$log"
  "$check" "$folder/$1" "$2" >>"$log" 2>&1
  code=$?
  [ $code -gt 1 ] && echo "not ok $1: gpu_check ended with $code" >>"$log"
}
"$check" "$folder/digits" 1 >/dev/null 2>&1
[ $? -eq 77 ] && { echo "skipped: no NVIDIA GPU for these programs"; exit 77; }
# Whole models and sanitizers run beside the rest: nothing is timed.
"$here/models.sh" "$folder" >"$log.models" 2>&1 &
"$here/sanitize.sh" "$folder" >"$log.sanitize" 2>&1 &
for libraries in on off; do
  export MVCC_GPU_LIBRARIES=$libraries
  for program in golden-mvsplit-f32 golden-mvsplit-bf16 odd-f32 odd-bf16 tokens77-bf16 digits; do
    for batch in 1 3 16; do kernels $program $batch; done
  done
  for kind in f32 bf16; do kernels rows-$kind 1; kernels rows-$kind 3; done
  kernels block-bf16 2
  # Rows run once each: which of a library's algorithms is fastest does not matter.
  find "$folder/ops" -name '*.ops' | sort | MVCC_GPU_ALGORITHMS=first xargs -P 6 -n 6 "$ops" >>"$log" 2>&1 ||
    echo "not ok rows of ops, libraries $libraries: gpu_ops failed" >>"$log"
done
wait
cat "$log.models" "$log.sanitize" >>"$log"
rm "$log.models" "$log.sanitize"
cat "$log"
passed=$(grep -c '^ok ' "$log"); failed=$(grep -c '^not ok ' "$log")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
