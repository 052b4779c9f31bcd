#!/bin/sh
# What weights alone decide is computed once per change of them. A run that is stopped after every
# step and resumed computes all of it anew each time; it must have the bits of one that goes through.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { if "$@" >"$work/log" 2>&1; then echo "ok $title"; else echo "not ok $title"; cat "$work/log"; fi; }
# Rows of the last weight have norm one; a gain of the whole stack is an exponential: both follow
# the weights, and so do their gradients.
cat >"$work/model.mvs" <<'END'
let depth = 2, width = 32
layer normed(x, out) {
  param weight : f32[out, features(x)] = fan_in(1)
  matmul(x, weight * rsqrt(mean_features(weight * weight) + 1e-6))
}
model m {
  input zt    : f32[1, 8, 8]
  input label : i32[] = 10
  param gain  : f32[width] = 0
  image = patch_embed(zt, 2, width) as patch_embed
  text  = embed(label, 11, 4, width) as label_embed
  x     = concat(image, text)
  residual mvsplit as norm
  stack depth as blocks {
    x <- swiglu(x * exp(gain), 48) as ffn
  }
  output velocity : unpatchify(normed(x.image, 4) as final, 2)
}
train {
  objective rectified_flow(dropout = 0.1)
  optimizer adamw(lr = 2e-2)
  batch 8
  ema 0.9
  precision bf16
  data "digits"
}
sample { euler(steps = 3, cfg = 2, shift = 1) }
END
"$MVCC" "$work/model.mvs" -o "$work/x"
"$MVCC" "$work/model.mvs" --explain >"$work/explain"
title="the norm of the last weight and the gain are prepared"
say grep -q "^prepare forward: .* casts read the bf16 weights, 2 values" "$work/explain"
for micro in 8 4; do
  run="$work/whole-$micro"; parts="$work/parts-$micro"
  "$work/x" train --micro-batch $micro --save-every 1 --steps 4 --out "$run" 2>/dev/null >&2
  "$work/x" train --micro-batch $micro --save-every 1 --steps 1 --out "$parts" 2>/dev/null >&2
  for steps in 2 3 4; do "$work/x" train --resume --steps $steps --out "$parts" 2>/dev/null >&2; done
  for step in 2 3 4; do
    title="micro-batch $micro: step $step has the bits of a run resumed there"
    say cmp "$run/step-$step.safetensors" "$parts/step-$step.safetensors"
  done
done
title="the weights moved"
if cmp -s "$work/whole-8/step-3.safetensors" "$work/whole-8/step-4.safetensors"; then echo "not ok $title"; else echo "ok $title"; fi
# Samples in groups of one use what was prepared for the first; the second program has nothing before.
"$work/x" sample --weights "$work/whole-8/latest" --count 3 --batch 1 --out "$work/a.safetensors" >/dev/null
"$work/x" sample --weights "$work/whole-8/latest" --count 3 --batch 3 --out "$work/b.safetensors" >/dev/null
title="samples have the same bits in groups"; say cmp "$work/a.safetensors" "$work/b.safetensors"
