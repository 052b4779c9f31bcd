#!/bin/sh
# A run killed at any time, here ten times while it saves after every step, goes on from its newest
# complete checkpoint and ends with the bits of a run that nobody touched. Shards, micro-batches and
# the average of the weights take part.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$MVCC" "$root/models/dit.mvs" --set depth=2 --set width=32 --set heads=2 --set kv_heads=2 --set ffn=48 --set channels=4 \
  --set patch=1 --set latent_h=4 --set latent_w=4 --set text_tokens=3 --set context_width=32 -o "$work/x"
mkdir "$work/data"
/usr/bin/python3 - "$here" "$work/data" <<'EOT'
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tensors import save
random = np.random.default_rng(1)
for name, count in (("a", 5), ("b", 8)):
    save(f"{sys.argv[2]}/{name}.safetensors", {"x0": random.normal(size=(count, 4, 4, 4)),
                                               "context": random.normal(size=(count, 3, 32))})
EOT
train="train --data $work/data --batch 6 --lr 1e-2 --warmup 5 --ema 0.9 --steps 400"
# shellcheck disable=SC2086
"$work/x" $train --out "$work/whole" >/dev/null
lines() { if [ -f "$work/part/metrics.jsonl" ]; then grep -c . "$work/part/metrics.jsonl" || true; else echo 0; fi; }
# Killed once five steps more are logged: somewhere in a step or a save, on a slow machine too.
# shellcheck disable=SC2086
for time in 1 2 3 4 5 6 7 8 9 10; do
  resume=--resume; [ -f "$work/part/run.json" ] || resume=
  wanted=$(($(lines) + 5))
  "$work/x" $train --save-every 1 $resume --out "$work/part" >/dev/null 2>&1 & pid=$!
  while kill -0 $pid 2>/dev/null && [ "$(lines)" -lt "$wanted" ]; do sleep 0.001; done
  kill -KILL $pid 2>/dev/null || true; wait $pid 2>/dev/null || true
done
# shellcheck disable=SC2086
"$work/x" $train --resume --out "$work/part" >/dev/null
same() { if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not ok $1"; fi; }
same "a killed run ends with the same checkpoint" "$work/whole/step-400.safetensors" "$work/part/step-400.safetensors"
cut -d, -f1-4 "$work/whole/metrics.jsonl" >"$work/a"; cut -d, -f1-4 "$work/part/metrics.jsonl" >"$work/b"
same "a killed run logs the same lines" "$work/a" "$work/b"
[ -z "$(find "$work/part" -name '.*.tmp')" ] && echo "ok nothing temporary is left" || echo "not ok nothing temporary is left"
# A newest checkpoint that was cut short is passed over.
size=$(stat -c %s "$work/part/step-400.safetensors")
head -c $((size - 4)) "$work/part/step-400.safetensors" >"$work/part/step-999.safetensors"
"$work/x" sample --weights "$work/part/latest" --count 2 --steps 2 --out "$work/s.safetensors" >/dev/null &&
  echo "ok a cut checkpoint is passed over" || echo "not ok a cut checkpoint is passed over"
# Other micro-batches add in another order: equal within 1e-5 of the norm a step
# (docs/numerics.md). Training spreads that, so the first 20 steps are compared.
"$work/x" train --data "$work/data" --batch 6 --micro-batch 2 --lr 1e-2 --warmup 5 --ema 0.9 --steps 20 --out "$work/micro" >/dev/null
/usr/bin/python3 - "$work" <<'EOT'
import json, sys
rows = [[json.loads(line) for line in open(f"{sys.argv[1]}/{run}/metrics.jsonl")] for run in ("whole", "micro")]
error = max(abs(a[key] / b[key] - 1) for a, b in zip(*rows) for key in ("loss", "grad_norm"))
print(f"{'ok' if len(rows[1]) == 20 and error < 1e-5 else 'not ok'} micro-batches agree over 20 steps: {error:.1e}")
EOT
