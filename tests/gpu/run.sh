#!/bin/sh
# Everything that is tested on a GPU: each kernel against the host's, then whole models.
# usage: tests/gpu/run.sh GPU_CHECK FOLDER      programs made by tests/gpu/compile.sh
# The last line is "N passed, N failed"; 77 where there is no GPU.
set -u
check=$1; folder=$2
here=$(cd "$(dirname "$0")" && pwd)
log=$(mktemp); trap 'rm -f "$log"' EXIT
for program in golden-mvsplit-f32 golden-mvsplit-bf16 odd-f32 odd-bf16 digits; do
  for batch in 1 3 16; do
    echo "# $program, batch $batch" >>"$log"
    "$check" "$folder/$program" "$batch" >>"$log" 2>&1
    code=$?
    [ $code -eq 77 ] && { echo "skipped: no NVIDIA driver"; exit 77; }
    [ $code -gt 1 ] && echo "not ok $program: gpu_check ended with $code" >>"$log"
  done
done
"$here/models.sh" "$folder" >>"$log" 2>&1
cat "$log"
passed=$(grep -c '^ok ' "$log"); failed=$(grep -c '^not ok ' "$log")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
