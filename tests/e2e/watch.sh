#!/bin/sh
# train --watch: a run that falls is warned of, stopped, or goes back and on another way; the same
# bits when it is resumed anywhere.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { if "$@" >/dev/null 2>&1; then echo "ok $title"; else echo "not ok $title"; fi; }
run() { code=0; "$work/x" train "$@" >"$work/said" 2>"$work/log" || code=$?; }
"$MVCC" "$here/falls.mvs" -o "$work/x"
common="--save-every 10 --keep 2"
steps_of() { sed 's/{"step": \([0-9]*\),.*/\1/' "$1"; }

# shellcheck disable=SC2086
run $common --steps 130 --out "$work/stop" --watch stop
fell=$(sed -n 's/{"step":\([0-9]*\),"level":"collapse".*/\1/p' "$work/stop/alarms.jsonl" | head -1)
title="stopped: exit status 3"; say test $code -eq 3
title="stopped: at the step of the collapse"; say test "$(tail -n 1 "$work/stop/metrics.jsonl" | steps_of /dev/stdin)" = "$fell"
good=$(sed -n 's/.*the last checkpoint before it began is step \([0-9]*\)$/\1/p' "$work/log")
title="stopped: the last good checkpoint is named and kept"; say test -n "$good" -a -e "$work/stop/step-$good.safetensors"

# Norms by layer and family beside the steps before, and the samples of the step: of all micro-batches.
norms='^ *[0-9.e+]* *×[0-9.e+]* *blocks.ffn.w13, layer [0-3]$' samples='^gradient of the output, RMS of 16 samples .*; largest: [0-9.e+]* (sample [0-9]*), '
title="stopped: the autopsy has the largest norms"; say test "$(grep -c "$norms" "$work/stop/autopsy-$fell.txt")" -ge 2
title="stopped: and the samples"; say grep -q "$samples" "$work/stop/autopsy-$fell.txt"
title="stopped: it is printed"; say grep -q "$samples" "$work/log"
# shellcheck disable=SC2086
run $common --steps 130 --out "$work/parts" --watch stop --micro-batch 4
title="stopped: samples are those of all micro-batches"; say test $code -eq 3 -a "$(grep -c "$samples" "$work/log")" -eq 1
# shellcheck disable=SC2086
run $common --steps $((fell + 1)) --out "$work/warn"
title="warned: the run goes on"; say test $code -eq 0 -a -e "$work/warn/step-$((fell + 1)).safetensors"
title="warned: on the screen"; say grep -q 'collapse: collapse at step [0-9]*: loss' "$work/log"
title="warned: in the folder"; say grep -q '"level":"collapse","rule":"loss"' "$work/warn/alarms.jsonl"

# shellcheck disable=SC2086
run $common --steps "$fell" --out "$work/off" --watch off
title="off: nothing is said"; say test $code -eq 0 -a ! -e "$work/off/alarms.jsonl" -a ! -s "$work/log"

# Slower each time, with other samples.
back="$common --watch rollback --rollback-lr 0.1 --rollbacks 2"
# shellcheck disable=SC2086
run $back --steps 150 --out "$work/back"
title="rolled back: and trained to the end"; say test $code -eq 0 -a -e "$work/back/step-150.safetensors"
title="rolled back: to the last good checkpoint"; say grep -q "rollback: back to step $good from step $fell, on with other samples, on at 0.1 of the learning rate: collapse" "$work/log"
title="rolled back: recorded"
say python3 -c "import json; t = json.load(open('$work/back/run.json'))['rollbacks']; assert t[0].pop('why').startswith('collapse at step $fell') and t[0] == {'from': $fell, 'to': $good, 'reorders': True, 'rate': 0.1}, t"
title="rolled back: the alarms say so"; say grep -q "^{\"step\":$good,\"level\":\"note\",\"rule\":\"rollback\"" "$work/back/alarms.jsonl"
title="rolled back: every step is logged once"; steps_of "$work/back/metrics.jsonl" >"$work/a"; seq 150 >"$work/b"; say cmp "$work/a" "$work/b"
title="rolled back: the rate is lower from there on"
say python3 -c "
import json
rate = {r['step']: r['lr'] for r in map(json.loads, open('$work/back/metrics.jsonl'))}
plain = {r['step']: r['lr'] for r in map(json.loads, open('$work/warn/metrics.jsonl'))}
assert rate[$good] == plain[$good] and abs(rate[$good + 1] / plain[$good + 1] - 0.1) < 1e-8"
# Cut before the collapse, at no step of a regular checkpoint, and behind the turn: what was saved there must not be gone back to.
# shellcheck disable=SC2086
for cut in $((fell - 7)) $((good + 3)) $((good + 13)); do
  run $back --steps "$cut" --out "$work/cut$cut"
  run $common --steps 150 --resume --out "$work/cut$cut"
  title="resumed after step $cut: the same weights"; say cmp "$work/back/step-150.safetensors" "$work/cut$cut/step-150.safetensors"
  title="resumed after step $cut: the same alarms"; say cmp "$work/back/alarms.jsonl" "$work/cut$cut/alarms.jsonl"
done
# shellcheck disable=SC2086
run $common --watch rollback --rollbacks 1 --steps 150 --out "$work/again"
title="rolled back as often as allowed, then stopped"; say test $code -eq 3
title="the message counts them"; say grep -q 'after 1 of 1 rollbacks; the last' "$work/log"
# A step that is not finite is one to go back from too.
# shellcheck disable=SC2086
run $common --watch rollback --rollback-lr 0.001 --steps 60 --out "$work/far" --lr 3
title="back from a step that is not finite"; say test $code -eq 0 -a "$(grep -c 'rollback: .*not finite at step' "$work/log")" = 1
# shellcheck disable=SC2086
run --save-every 1000 --steps 130 --out "$work/none" --watch rollback
title="without a checkpoint to go back to it stops"; say grep -q 'there is no checkpoint of before it began' "$work/log"
run --steps 10 --out "$work/same" --watch rollback --rollback-order same
title="a rollback that would fall again the same way is refused"; say grep -q 'would fall again the same way' "$work/log"
# What the watch knew is in the checkpoint; one of another version is told of, and the run goes on.
# shellcheck disable=SC2086
run $common --steps 20 --out "$work/strange"
LC_ALL=C sed -i 's/"watch 2 /"watch 9 /' "$work/strange/step-20.safetensors"
# shellcheck disable=SC2086
run $common --steps 30 --resume --out "$work/strange"
title="a state of the watch that cannot be read is told of"
say test $code -eq 0 -a "$(grep -c 'note: what the watch knew cannot be read from the checkpoint, so it begins anew' "$work/log")" = 1
