#!/bin/sh
# Every kernel of every model as a cubin for sm_90a, compiled here without a GPU; a kernel that spills is an
# error of mvcc's. Skipped, and said so, where NVRTC is not installed.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
try() {
  title=$1; shift
  if "$MVCC" "$@" --gpu sm_90a -o "$work/x" 2>"$work/log"; then echo "ok $title"; return; fi
  if grep -q 'NVRTC (.*was not found' "$work/log"; then echo "ok $title (skipped: no NVRTC)"; return; fi
  echo "not ok $title"; cat "$work/log"
}
try "digits" "$root/models/digits.mvs"
try "dit1000" "$root/models/dit1000.mvs"
try "dit400, f32" "$root/models/dit400.mvs" --set bf16=false
try "odd sizes, biases, grouped heads" "$root/models/dit.mvs" --set depth=3 --set width=60 --set heads=3 \
  --set kv_heads=1 --set ffn=52 --set channels=3 --set latent_h=5 --set latent_w=3 --set text_tokens=1 \
  --set context_width=7 --set bias=true --set bf16=true
for rule in plain prenorm layerscale rezero deepnorm sandwich; do
  try "digits with $rule" "$root/models/digits.mvs" --residual "$rule"
done
