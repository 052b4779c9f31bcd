#!/bin/sh
# Grids that a run draws as it goes: those that `sample` draws of its checkpoints, in its page, and no bit of the training.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat log; fi; }
small="depth = 2, width = 32, heads = 2, ffn = 48"
echo "use \"$root/models/digits.mvs\" with $small" >plain.mvs
# Weights in bf16 beside the master's are made anew when others are lent; Muon has buffers of its own.
cat >round.mvs <<EOF2
use "$root/models/digits.mvs" with $small
train { precision bf16 optimizer muon(lr = 2e-3, momentum = 0.9) ema 0 }
EOF2
for model in plain round; do
  "$MVCC" $model.mvs --cpu x86-64-v3 -o $model.x
  for every in 0 4; do
    ./$model.x train --steps 12 --batch 8 --seed 3 --micro-batch 4 --save-every 4 --keep 9 --diagnose 5 --sample-every $every --sample-count 7 \
      --out $model$every >out 2>log
  done
  code=0
  for file in step-4.safetensors step-8.safetensors step-12.safetensors diagnostics.jsonl; do cmp $model"0/$file" $model"4/$file" >>log || code=1; done
  say $code "$model: no bit of the training is another"
  code=0
  for step in 4 8 12; do
    ./$model.x sample --weights $model"4/step-$step.safetensors" --count 7 --seed 3 --out one.png >>log 2>&1
    cmp one.png $model"4/samples-$step.png" >>log || code=1
  done
  cmp -s plain4/samples-4.png plain4/samples-8.png && code=1
  say $code "$model: grids are those of its checkpoints, of the average where there is one"
done
code=0; ls plain0 >log; grep -q samples log && code=1
say $code "none are drawn unless asked for"

# Cut, with grids of steps that come again and of none of the run's.
./plain.x train --steps 7 --batch 8 --seed 3 --micro-batch 4 --save-every 4 --keep 9 --sample-every 4 --sample-count 7 --out part >out 2>log
rm part/step-7.safetensors; cp part/samples-4.png part/samples-16.png; cp part/samples-4.png part/samples-mine.png
./plain.x train --resume --steps 12 --out part >out 2>log
code=0; for step in 4 8 12; do cmp part/samples-$step.png plain4/samples-$step.png >>log || code=1; done
say $code "a resumed run draws on, to the same grids"
[ ! -e part/samples-16.png ] && [ -e part/samples-mine.png ] && code=0 || code=1
say $code "a grid of a step that was given up goes, what is not the run's stays"
[ "$(grep -o '"name":"samples-[a-z0-9]*"' part/report.html | tr '\n' ' ')" = \
  '"name":"samples-4" "name":"samples-8" "name":"samples-12" "name":"samples-mine" ' ] && code=0 || code=1
say $code "they are on the run's page, in order"
# A page holds every 2nd, 4th, ... and the newest of many.
mkdir many; cp part/run.json part/metrics.jsonl many
for step in $(seq 1 50); do cp part/samples-4.png many/samples-$step.png; done
./plain.x report many >out 2>log
[ "$(grep -o '"name":"samples-[0-9]*"' many/report.html | tr -dc '0-9 \n' | tr '\n' ' ')" = "1 5 9 13 17 21 25 29 33 37 41 45 49 50 " ] && code=0 || code=1
say $code "of many a page shows some, from all of the run"

# The page of a run that goes on has them while it goes on, whatever somebody puts beside them.
./plain.x train --steps 1000000 --batch 8 --sample-every 5 --sample-count 4 --out long >out 2>log & pid=$!
until [ -s long/metrics.jsonl ] || ! kill -0 $pid; do sleep 0.05; done
echo "half of a picture" >long/samples-z.png
until grep -qs '"live":true.*"name":"samples-5"' long/report.html || ! kill -0 $pid; do sleep 0.1; done
kill -INT $pid && code=0 || code=1
say $code "the page shows them while the run goes on"
code=0; wait $pid || code=$?
[ "$code" -eq 1 ] && [ "$(cat log)" = "plain.x: error: 'long/samples-z.png' is no PNG file" ] && ls long/step-*.safetensors >>log && \
  grep -q '"live":false.*"name":"samples-5"' long/report.html && code=0 || code=1
say $code "a file that is no picture is told of at the end, and costs the run nothing"
# A fall: what was drawn on the way that is given up goes with its checkpoints.
"$MVCC" "$here/falls.mvs" --cpu x86-64-v3 -o falls.x
code=0; ./falls.x train --steps 400 --save-every 10 --watch rollback --rollback-lr 0.1 --rollbacks 1 --sample-every 10 --sample-count 2 --out fell >out 2>log || code=$?
last=$(sed -n 's/.*"step": *\([0-9]*\).*/\1/p' fell/metrics.jsonl | tail -1)
beyond=0; for file in fell/samples-*.png; do step=${file#fell/samples-}; [ "${step%.png}" -le "$last" ] || beyond=1; done
grep -q '"rule":"rollback"\|"rule": "rollback"' fell/alarms.jsonl && [ $beyond -eq 0 ] && code=0 || code=1
say $code "no grid is of a step that the run has not"
