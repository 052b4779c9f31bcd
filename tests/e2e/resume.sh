#!/bin/sh
# Checkpoints: a resumed run has the bits of an uninterrupted one; Ctrl-C saves and ends cleanly.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { if "$@" >/dev/null 2>&1; then echo "ok $title"; else echo "not ok $title"; fi; }
"$MVCC" "$root/models/digits.mvs" --set depth=2 --set width=32 --set heads=2 --set ffn=48 -o "$work/x"
train="train --data digits --batch 8 --save-every 5"
# shellcheck disable=SC2086
{
  "$work/x" $train --steps 12 --out "$work/whole" 2>/dev/null
  "$work/x" $train --steps 5 --out "$work/part" 2>/dev/null
  : >"$work/part/events.out.tfevents.9223372036854775807.host" # somebody else's
  "$work/x" $train --steps 12 --resume --out "$work/part" --threads 1 2>/dev/null
}
"$work/x" sample --weights "$work/whole/latest" --count 2 --steps 2 --out "$work/a.safetensors"
"$work/x" sample --weights "$work/part/latest" --count 2 --steps 2 --out "$work/b.safetensors"
title="resumed run samples the same bits"; say cmp "$work/a.safetensors" "$work/b.safetensors"
cut -d, -f1-3 "$work/whole/metrics.jsonl" >"$work/a"; cut -d, -f1-3 "$work/part/metrics.jsonl" >"$work/b"
title="resumed run logs the same bits"; say cmp "$work/a" "$work/b"
title="events go on in a file of their own time"
say test "$(cd "$work/part" && ls -d events.out.tfevents.[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9].mvcc | wc -l)" -eq 2
# What is looked at and kept is the run's too; a value given anew counts from there on.
# shellcheck disable=SC2086
{
  seen="--diagnose 3 --anchors 1 --log-every 2 --keep 2 --ema 0.9"
  "$work/x" $train $seen --steps 16 --out "$work/seen" 2>/dev/null
  "$work/x" $train $seen --steps 7 --out "$work/seen2" 2>/dev/null
  "$work/x" train --steps 16 --resume --out "$work/seen2" 2>/dev/null
}
title="a resumed run has the diagnostics of a whole one"; say cmp "$work/seen/diagnostics.jsonl" "$work/seen2/diagnostics.jsonl"
title="they are of steps 1, 3, 6, ... and of the layer asked for"
say test "$(sed -n 's/.*"step":\([0-9]*\).*"rho":{"layers":\[1\].*/\1/p' "$work/seen2/diagnostics.jsonl" | tr '\n' ' ')" = "1 3 6 9 12 15 "
cut -d, -f1-3 "$work/seen/metrics.jsonl" >"$work/a"; cut -d, -f1-3 "$work/seen2/metrics.jsonl" | grep -v '"step": 7,' >"$work/b"
title="it has its lines, but for the one at which it ended"; say cmp "$work/a" "$work/b"
title="it keeps as many checkpoints"; say test "$(cd "$work/seen2" && ls step-*)" = "$(cd "$work/seen" && ls step-*)"
title="and the same bits in them"; say cmp "$work/seen/step-16.safetensors" "$work/seen2/step-16.safetensors"
title="numbers are recorded in no more digits than they need"; say grep -q '"ema": "0.9",' "$work/seen2/run.json"
title="the device is recorded"; say grep -q '"device": "cpu",' "$work/seen2/run.json"
"$work/x" train --steps 20 --diagnose 2 --anchors 0 --resume --out "$work/seen2" 2>/dev/null
title="anchors and distance may be given anew"
say test "$(sed -n 's/.*"step":\([0-9]*\).*"rho":{"layers":\[0\].*/\1/p' "$work/seen2/diagnostics.jsonl" | tr '\n' ' ')" = "18 20 "
title="and are recorded"; say grep -q '"anchors": "0"' "$work/seen2/run.json"
# What device a run is on decides its bits.
sed 's/"device": "cpu",/"device": "cuda",/' "$work/seen2/run.json" >"$work/run.json" && cp "$work/run.json" "$work/seen2/run.json"
code=0; "$work/x" train --resume --out "$work/seen2" 2>"$work/log" || code=$?
title="a run of another device is not gone on with silently"
say test $code -eq 1 -a -n "$(grep "the run in .* was on device cuda; another --device goes on with other bits" "$work/log")"
title="but by name"; say "$work/x" train --resume --device cpu --out "$work/seen2"
"$work/x" train --resume --steps 21 --out "$work/seen2" 2>"$work/log"
title="on the same processor nothing is said"; say test -z "$(grep note "$work/log")"
sed 's/"device": "x86-64-v.*",/"device": "another",/' "$work/seen2/run.json" >"$work/run.json" && cp "$work/run.json" "$work/seen2/run.json"
"$work/x" train --resume --steps 22 --out "$work/seen2" 2>"$work/log"
title="another processor is told of"; say grep -q "note: the run was on 'another', and goes on on 'x86-64-v.*'; bits may differ$" "$work/log"
# Another number of heads has the same weights in the same places, and is another model.
"$MVCC" "$root/models/digits.mvs" --set depth=2 --set width=32 --set heads=4 --set ffn=48 -o "$work/y"
code=0; "$work/y" train --resume --out "$work/seen2" 2>"$work/log" || code=$?
title="a program with other settings does not go on with a run"
say test $code -eq 1 -a -n "$(grep "holds a run with let heads = 2, and this program was compiled with 4;" "$work/log")"
# Muon's momentum stands where AdamW's does; gains that are frozen beside it.
cat >"$work/muon.mvs" <<EOF
use "$root/models/digits.mvs" with depth = 2, width = 32, heads = 2, ffn = 48, residual mvsplit(rate = 0)
train { optimizer muon(lr = 2e-3, momentum = 0.9) }
EOF
"$MVCC" "$work/muon.mvs" -o "$work/m"
# shellcheck disable=SC2086
{
  "$work/m" $train --steps 12 --out "$work/muon" 2>/dev/null
  "$work/m" $train --steps 5 --out "$work/part2" 2>/dev/null
  "$work/m" $train --steps 12 --resume --out "$work/part2" --threads 1 2>/dev/null
}
title="a resumed run with Muon has the same checkpoint"
say cmp "$work/muon/step-12.safetensors" "$work/part2/step-12.safetensors"
title="a second run does not overwrite the first"
# shellcheck disable=SC2086
if "$work/x" $train --steps 3 --out "$work/whole" 2>/dev/null; then echo "not ok $title"; else echo "ok $title"; fi
# shellcheck disable=SC2086
"$work/x" $train --steps 100000 --out "$work/long" 2>/dev/null & pid=$!
# Before its first step it does not listen: a shell's background jobs are started deaf to Ctrl-C.
until [ -s "$work/long/metrics.jsonl" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.1; done
kill -INT $pid; code=0; wait $pid || code=$?
title="Ctrl-C ends cleanly"; say test $code -eq 0
title="Ctrl-C saves"; say "$work/x" sample --weights "$work/long/latest" --count 1 --steps 1 --out "$work/c.safetensors"
# A learning rate far too large: the step whose gradients are no numbers is told, logged and not taken.
code=0
"$work/x" train --data digits --batch 8 --steps 12 --save-every 1 --lr 1e6 --warmup 0 --out "$work/far" >/dev/null 2>"$work/log" || code=$?
bad=$(sed -n 's/.*training diverged: at step \([0-9]*\) .*/\1/p' "$work/log")
title="a step that is not finite ends the run"; say test $code -eq 1 -a -n "$bad"
title="the message names the checkpoint before it"; say grep -q "the newest checkpoint is step $((bad - 1))\$" "$work/log"
title="that checkpoint is the newest"; say test -e "$work/far/step-$((bad - 1)).safetensors" -a ! -e "$work/far/step-$bad.safetensors"
title="the step is logged"; say grep -q "\"step\": $bad, .*null" "$work/far/metrics.jsonl"
