#!/bin/sh
# Compiles every example and trains it for two steps; one runs with another rule, and example 08
# reads a checkpoint with the names it is about.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for file in "$root"/examples/*.mvs; do
  name=$(basename "$file" .mvs)
  if "$MVCC" "$file" -o "$work/$name" >"$work/log" 2>&1 &&
    "$work/$name" train --data digits --batch 4 --steps 2 --out "$work/run-$name" >>"$work/log" 2>&1 &&
    /usr/bin/python3 - "$work/run-$name/metrics.jsonl" >>"$work/log" 2>&1 <<'EOF'
import json, math, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert len(rows) == 2, rows
assert all(math.isfinite(row[key]) for row in rows for key in ("loss", "grad_norm")), rows
assert all(row["grad_norm"] > 0 for row in rows), rows
EOF
  then echo "ok $name"; else echo "not ok $name"; cat "$work/log"; fi
done

title="03-two-stacks runs in one go with another rule"
if "$MVCC" run "$root/examples/03-two-stacks.mvs" --set width=16 --residual 'layerscale(gamma = 1e-2)' \
  train --batch 2 --steps 1 --out "$work/run-rule" >"$work/log" 2>&1; then echo "ok $title"; else
  echo "not ok $title"; cat "$work/log"; fi

names="$work/08-names"
/usr/bin/python3 - "$here" "$work" <<'EOF'
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import tensors
work, draw = sys.argv[2], np.random.default_rng(1).standard_normal
weights = {"encoder.embed.weight": draw((32, 1, 2, 2)), "encoder.embed.bias": draw(32),
           "head.weight": draw((4, 32)), "head.bias": draw(4)}
for i in range(3):
    at = f"encoder.{i}."
    for name in ("to_q", "to_k", "to_v", "to_out"):
        weights[f"{at}attn.{name}.weight"] = 0.2 * draw((32, 32))
    weights[f"{at}mlp.fc.weight"], weights[f"{at}mlp.fc.bias"] = 0.2 * draw((64, 32)), draw(64)
    weights[f"{at}mlp.proj.weight"], weights[f"{at}mlp.proj.bias"] = 0.2 * draw((32, 64)), draw(32)
    weights[f"{at}ln_1.weight"] = np.ones(32) # ln_2 is left out: a constant is optional
outside = {f"model.{name}": value for name, value in weights.items()}
tensors.save(f"{work}/outside.safetensors", outside)
outside["model.encoder.1.ln_1.weight"][5] = 2
tensors.save(f"{work}/trained.safetensors", outside)
tensors.save(f"{work}/in.safetensors", {"zt": draw((2, 1, 8, 8))})
EOF
eval="eval --weights-prefix model. --inputs $work/in.safetensors --out $work/out.safetensors"
title="08-names reads an outside checkpoint"
# shellcheck disable=SC2086
if "$names" $eval --weights "$work/outside.safetensors" 2>"$work/log"; then echo "ok $title"; else
  echo "not ok $title"; cat "$work/log"; fi
title="08-names refuses a trained norm by name"
# shellcheck disable=SC2086
if "$names" $eval --weights "$work/trained.safetensors" 2>"$work/log"; then echo "not ok $title"; else
  if grep -q 'encoder\.1\.ln_1\.weight' "$work/log"; then echo "ok $title"; else
    echo "not ok $title"; cat "$work/log"; fi; fi
