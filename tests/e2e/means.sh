#!/bin/sh
# Token means where rounding matters: tokens that are nearly equal, and a stream whose mean should
# stand still (alpha = 0), under both ways of --means, in bf16, beside what bf16 itself does.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cat >"$work/centred.mvs" <<'EOF2'
model centred {
  input y : f32[256, 64]
  f = linear(y, 48) as writer
  output centred : f - mean(f)
}
train { precision bf16 }
EOF2
cat >"$work/drift.mvs" <<'EOF2'
residual still(beta: gain = 1) { x + beta * center(f) }
model drift {
  input y : f32[256, 64]
  x = y
  residual still as merge
  stack 32 as blocks { x <- linear(x, 64, writes = true) as writer }
  output last : x
}
train { precision bf16 }
EOF2
for model in centred drift; do
  for means in exact writer; do
    "$MVCC" "$work/$model.mvs" --means $means -o "$work/$model-$means"
  done
done
PYTHONPATH="$here" /usr/bin/python3 "$here/means.py" "$work"
# The gains' gradients come from the weight's, so the branches need not be kept for the backward pass.
kept() { "$MVCC" "$here/../../models/dit.mvs" --set depth=4 --set bf16=true --means $1 --explain |
  sed -n 's/^crossing blocks: kept per layer, \([0-9]*\) bytes per sample.*/\1/p' | paste -sd+; }
exact=$(($(kept exact))); writer=$(($(kept writer))); branches=$((2 * 320 * 1024 * 2))
if [ $((exact - writer)) -ge $((branches * 9 / 10)) ]; then echo "ok two branches less are kept through the writer"
else echo "not ok two branches less are kept through the writer: $exact and $writer bytes"; fi
if "$MVCC" "$work/drift.mvs" --means about -o "$work/none" 2>"$work/log"; then echo "not ok --means about is refused"
elif grep -q "exact or writer" "$work/log"; then echo "ok --means about is refused"
else echo "not ok --means about is refused"; cat "$work/log"; fi
