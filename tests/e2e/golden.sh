#!/bin/sh
# Whole models against what the released model computes: every rule, with and without recompute, and
# both ways to token means. In bf16 too, with golden.py's wider bounds. The bits must not depend on recompute or on the number of threads.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
dims="--set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 --set channels=8
  --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=48"
models="mvsplit: mvsplit:--means=writer layerscale: plain: mvsplit:--set=bf16=true
  mvsplit:--set=bf16=true,--means=writer layerscale:--set=bf16=true,--means=writer"
for each in $models; do
  rule=${each%%:*}; options=$(echo "${each#*:}" | tr ',' ' '); name="$rule${options:+ $options}"
  case $options in *bf16*) kind=bf16 ;; *) kind= ;; esac
  golden="$root/tests/data/dev-$rule.safetensors"
  # shellcheck disable=SC2086
  "$MVCC" "$root/models/dit.mvs" $dims --residual "$rule" $options -o "$work/x"
  for recompute in none block; do
    out="$work/$rule-$recompute"; rm -rf "$out"; mkdir -p "$out"
    weights="--weights $golden --weights-prefix w/"
    # shellcheck disable=SC2086
    {
      "$work/x" eval $weights --inputs "$golden" --inputs-prefix in/ --out "$out/velocity.safetensors"
      "$work/x" grad $weights --inputs "$golden" --inputs-prefix in/ --recompute $recompute --out "$out/grad.safetensors"
      "$work/x" train --fixed-batch "$golden" --inputs-prefix in/ $weights --steps 20 --lr 1e-3 --warmup 0 \
        --betas 0.9,0.95 --recompute $recompute --out "$out/run"
      "$work/x" sample --weights "$out/run/latest" --noise "$golden" --noise-name in/x1 --context "$golden" \
        --context-name in/context --steps 8 --cfg 2 --shift 4 --ema off --out "$out/sample.safetensors"
    } >"$out/log" 2>&1 || { echo "not ok $name $recompute runs"; cat "$out/log"; exit 1; }
    # shellcheck disable=SC2086
    /usr/bin/python3 "$here/golden.py" "$golden" "$out" "$name recompute=$recompute" $kind || true
  done
  cmp -s "$work/$rule-none/grad.safetensors" "$work/$rule-block/grad.safetensors" &&
    echo "ok $name same bits with and without recompute" || echo "not ok $name same bits with and without recompute"
  # shellcheck disable=SC2086
  "$work/x" grad --threads 1 --weights "$golden" --weights-prefix w/ --inputs "$golden" --inputs-prefix in/ \
    --out "$work/one.safetensors"
  cmp -s "$work/$rule-none/grad.safetensors" "$work/one.safetensors" &&
    echo "ok $name same bits with one thread" || echo "not ok $name same bits with one thread"
done
