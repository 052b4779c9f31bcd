#!/bin/sh
# A program for two lengths of text against two programs for one length each: the same bits from
# every command, chosen by the tensors given.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { if "$@" >"$work/log" 2>&1; then echo "ok $title"; else echo "not ok $title"; cat "$work/log"; fi; }
dims="--set depth=2 --set width=32 --set heads=2 --set kv_heads=2 --set ffn=48 --set channels=4
  --set patch=1 --set latent_h=4 --set latent_w=6 --set context_width=16"
cat >"$work/used.mvs" <<EOF
use "$root/models/dit.mvs" with depth = 2, width = 32, heads = 2, kv_heads = 2, ffn = 48, channels = 4,
  patch = 1, latent_h = 4, latent_w = 6, context_width = 16, text_tokens = (5, 9)
EOF
# shellcheck disable=SC2086
{
  "$MVCC" "$root/models/dit.mvs" $dims --set text_tokens=5,9 -o "$work/both"
  "$MVCC" "$root/models/dit.mvs" $dims --set text_tokens=5 -o "$work/5"
  "$MVCC" "$root/models/dit.mvs" $dims --set text_tokens=9 -o "$work/9"
}
"$MVCC" "$work/used.mvs" -o "$work/used"
PYTHONPATH="$here" /usr/bin/python3 - "$work" <<'EOF'
import sys
import numpy as np
from tensors import save
random = np.random.default_rng(7)
for tokens in 5, 7, 9:
    draw = lambda *shape: random.standard_normal(shape).astype(np.float32)
    save(f"{sys.argv[1]}/in{tokens}.safetensors", {
        "zt": draw(3, 4, 4, 6), "x0": draw(3, 4, 4, 6), "x1": draw(3, 4, 4, 6),
        "context": draw(3, tokens, 16), "t": random.uniform(size=3).astype(np.float32)})
EOF
# Weights that do something: those of the first steps.
"$work/5" train --fixed-batch "$work/in5.safetensors" --steps 4 --warmup 0 --lr 1e-2 --out "$work/run" 2>/dev/null >&2
weights="--weights $work/run/latest --ema off"
for tokens in 5 9; do
  inputs="$work/in$tokens.safetensors"
  for program in both used "$tokens"; do
    out="$work/$program-$tokens"
    # shellcheck disable=SC2086
    {
      "$work/$program" eval $weights --inputs "$inputs" --out "$out-eval.safetensors"
      "$work/$program" grad $weights --inputs "$inputs" --out "$out-grad.safetensors"
      "$work/$program" sample $weights --count 3 --context "$inputs" --steps 3 --cfg 2 \
        --out "$out-sample.safetensors"
      "$work/$program" train --fixed-batch "$inputs" --steps 3 --out "$out-fixed"
      "$work/$program" train --data "$inputs" --batch 2 --steps 3 --out "$out-data"
    } >"$work/log" 2>&1 || { echo "not ok $program runs with $tokens"; cat "$work/log"; exit 1; }
  done
  for what in eval grad sample; do
    for program in both used; do
      title="$program: $what with $tokens tokens has the bits of a program of its own"
      say cmp "$work/$program-$tokens-$what.safetensors" "$work/$tokens-$tokens-$what.safetensors"
    done
  done
  for what in fixed data; do
    cut -d, -f1-3 "$work/both-$tokens-$what/metrics.jsonl" >"$work/a"
    cut -d, -f1-3 "$work/$tokens-$tokens-$what/metrics.jsonl" >"$work/b"
    title="train on $what with $tokens tokens logs the bits of a program of its own"; say cmp "$work/a" "$work/b"
  done
done
refuses() { # WORDS COMMAND...
  words=$1; shift
  if "$@" >"$work/log" 2>&1; then echo "not ok $title: it ran"; return; fi
  if grep -qF "$words" "$work/log"; then echo "ok $title"; else echo "not ok $title"; cat "$work/log"; fi
}
held="[5, 16] with text_tokens = 5, [9, 16] with 9"
# shellcheck disable=SC2086
{
  title="eval of a length that it does not hold"
  refuses "$held" "$work/both" eval $weights --inputs "$work/in7.safetensors" --out "$work/none.safetensors"
  title="sample of a length that it does not hold"
  refuses "$held" "$work/both" sample $weights --context "$work/in7.safetensors" --out "$work/none.png"
  title="data of a length that it does not hold"
  refuses "text_tokens = 5, 9" "$work/both" train --data "$work/in7.safetensors" --steps 1 --out "$work/none"
  title="inputs of two lengths"
  refuses "fits all tensors" "$work/both" sample $weights --context "$work/in5.safetensors" \
    --uncond "$work/in9.safetensors" --uncond-name context --out "$work/none.png"
  title="nothing to tell them apart: the first"
  "$work/both" sample $weights --count 2 --steps 2 --out "$work/a.safetensors" >/dev/null
  "$work/5" sample $weights --count 2 --steps 2 --out "$work/b.safetensors" >/dev/null
  say cmp "$work/a.safetensors" "$work/b.safetensors"
}
"$work/both" info >"$work/info"
title="info lists the first length"; say grep -q "^  5 .*context \[5, 16\]" "$work/info"
title="info lists the second length"; say grep -q "^  9 .*context \[9, 16\]" "$work/info"
kernels() { "$work/$1" info | sed -n 's/^kernels *\([0-9]*\).*/\1/p'; }
title="equal kernels stand once"; say test "$(kernels both)" -lt "$(($(kernels 5) + $(kernels 9)))"
"$MVCC" "$root/models/dit.mvs" --set text_tokens=5,9 --until lower >"$work/graphs"
title="every graph is shown"; say grep -q "^# with text_tokens = 9" "$work/graphs"
title="two lets with several values"
refuses "'text_tokens' has several values, and so has 'width'" "$MVCC" "$root/models/dit.mvs" --set text_tokens=5,9 \
  --set width=32,64 -o "$work/none"
title="more values than there may be"
refuses "'text_tokens' has 65 values, the limit is 64" "$MVCC" "$root/models/dit.mvs" --set text_tokens="$(seq -s, 1 65)" -o "$work/none"
title="values that change parameters"
refuses "in 2 layers = 0 with 2, but f32[1024] in 3 layers" "$MVCC" "$root/models/dit.mvs" --set depth=2,3 -o "$work/none"
title="a list for a let that is one stays a list"
cat >"$work/m.mvs" <<'EOF'
let pair = (1, 2)
model m {
  input z : f32[4, 2, 2]
  a, b = pair
  output v : a * z + b
}
EOF
say "$MVCC" "$work/m.mvs" --set pair=3,4 --until lower
