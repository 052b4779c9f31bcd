#!/bin/sh
# `bench`: its figures hang together, for training and sampling, and its JSON says what it prints.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
x="$work/digits"
"$MVCC" "$root/models/digits.mvs" --set depth=3 -o "$x"
check() { # TITLE EXPRESSION: over d, the JSON, and lines, what was printed
  title=$1; shift
  if /usr/bin/python3 - "$work" "$1" <<'EOF'
import json, sys
d = json.load(open(sys.argv[1] + "/out.json"))
lines = open(sys.argv[1] + "/out.txt").read().splitlines()
k = d["kernels"]
heavy = [r for r in k if r["kind"].split("_")[0] in ("matmul", "attention")]
light = [r for r in k if r not in heavy]
near = lambda a, b: abs(a - b) <= 1e-6 * (abs(a) + abs(b))
sys.exit(0 if eval(sys.argv[2]) else 1)
EOF
  then echo "ok $title"; else echo "not ok $title"; cat "$work/out.json"; fi
}
run() { "$x" bench --device cpu --steps 2 --json "$work/out.json" "$@" >"$work/out.txt"; }

run --batch 12 --micro-batch 6
check "training: what ran is told" 'd["blocks"] == 3 and d["batch"] == 12 and d["cores_per_step"] == 2 and d["core"] == "grad"'
check "a row a kernel is printed" 'len([l for l in lines if l.endswith("(generated)")]) == len(k) > 20'
check "kernels add up to the step" 'near(sum(r["ms"] for r in k), d["step_kernels_ms"]) and d["step_kernels_ms"] > 0'
# 3 blocks, a matmul of a block runs in each, for both micro-batches.
check "launches are those of a step" 'max(r["launches"] for r in heavy) % 6 == 0'
check "the floor is its parts" 'near(d["core_floor_ms"], d["core_matmul_ms"] + d["core_attention_ms"]
  + 1e3 * d["core_least_bytes"] / d["copy_bytes_per_second"])'
check "a step's floor holds two cores and the update" '(near(d["step_floor_ms"], 2 * d["core_floor_ms"]
  + 1e3 * (d["step_least_bytes"] - 2 * d["core_least_bytes"]) / d["copy_bytes_per_second"])
  and d["step_least_bytes"] > 2 * d["core_least_bytes"])'
# Every light kernel reads and writes its operands at least once, so the least cannot be more than their sum.
check "the parts in turns are timed" 'd["core_turns_ms"] > 0'
check "the least bytes are no more than what moves" '0 < d["step_least_bytes"] <= sum(r["bytes"] for r in light)'
check "limits are those of copying" 'all(near(r["limit_ms"], 1e3 * r["bytes"] / d["copy_bytes_per_second"]) for r in light)'
check "heavy kernels have a limit measured" 'all(r["limit_ms"] > 0 for r in heavy)'

run --sample --batch 4
check "sampling: what ran is told" 'd["core"] == "forward" and d["batch"] == 4 and d["cores_per_step"] in (1, 2)'
check "sampling has no backward" 'not any(r["kind"] == "attention_grad" for r in k) and d["step_ms"] > 0'

if "$x" bench --steps 1 --json "$work/none/out.json" >"$work/log" 2>&1 || ! grep -q "none" "$work/log"; then
  echo "not ok a file that cannot be made is told"; cat "$work/log"
else
  echo "ok a file that cannot be made is told"
fi
