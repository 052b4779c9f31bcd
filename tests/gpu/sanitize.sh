#!/bin/sh
# compute-sanitizer over the gradients of a small model on this machine's GPU: reads and writes out of
# bounds, races in shared memory, reads of memory that nothing wrote. The generated kernels alone, then
# memcheck once more with the libraries.
# usage: tests/gpu/sanitize.sh FOLDER      programs made by tests/gpu/compile.sh
set -u
folder=$1; root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
file="$root/tests/data/dev-mvsplit.safetensors"
if ! command -v compute-sanitizer >/dev/null; then echo "ok sanitizer (skipped: no compute-sanitizer)"; exit 0; fi
try() { # TITLE TOOL PROGRAM
  if timeout 120 compute-sanitizer --tool "$2" --error-exitcode 9 "$folder/$3" grad --device cuda --weights "$file" \
    --weights-prefix w/ --inputs "$file" --inputs-prefix in/ --out "$work/grad.safetensors" >"$work/log" 2>&1 &&
    grep -q 'SUMMARY: 0 ' "$work/log"
  then echo "ok $1"; else echo "not ok $1"; head -40 "$work/log"; fi
}
export MVCC_GPU_LIBRARIES=off
for tool in memcheck racecheck initcheck; do
  try "$tool finds nothing, bf16" $tool golden-mvsplit-bf16
done
try "memcheck finds nothing, f32" memcheck golden-mvsplit-f32
export MVCC_GPU_LIBRARIES=on
try "memcheck finds nothing with the libraries" memcheck golden-mvsplit-bf16
