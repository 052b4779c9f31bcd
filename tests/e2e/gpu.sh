#!/bin/sh
# The GPU tests where there is a GPU, else how many are skipped; and whether docs/results/GPU.json is of this tree:
# a change of emitted CUDA or plans needs a new run of scripts/gpu_test.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
json="$root/docs/results/GPU.json"
field() { /usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$json" "$1"; }
count=1
if [ -f "$json" ]; then
  count=$(field 'd["tests"]["passed"]')
  hash=$("$root/tests/gpu/hash.sh")
  if [ "$hash" = "$(field 'd["hash"]')" ]; then
    echo "ok docs/results/GPU.json is of this tree"
  else
    echo "not ok docs/results/GPU.json is of another tree: run scripts/gpu_test.sh on a GPU; this tree's hash is $hash"
  fi
  if [ "$(field 'd["tests"]["failed"]')" = 0 ]; then echo "ok no GPU test failed"; else echo "not ok GPU tests failed"; fi
else
  echo "skipped 1 docs/results/GPU.json: there are no results yet"
fi
if ! nvidia-smi -L >/dev/null 2>&1; then echo "skipped $count GPU tests: no NVIDIA GPU here"; exit 0; fi
"$root/tests/gpu/compile.sh" "$BUILD/gpu"
"$root/tests/gpu/run.sh" "$BUILD/tests/gpu_check" "$BUILD/gpu"
