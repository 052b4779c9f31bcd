#!/bin/sh
# Sudden death: kill -9 at random moments of training, of writing checkpoints, of writing files, of a comparison.
# KILLS multiplies the counts (docs/testing.md has the figure of a long run), SEED decides the moments.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
times=${KILLS:-1}; seed=${SEED:-$(date +%s)}
small="--set depth=2 --set width=32 --set heads=2 --set ffn=48"
# shellcheck disable=SC2086
"$MVCC" "$root/models/digits.mvs" $small -o "$work/x"
mkdir "$work/plain" "$work/back" "$work/files" "$work/rules"
# A checkpoint every third step: most of the time goes into making them durable.
/usr/bin/python3 "$here/death.py" "$work/x" "$work/plain" $((30 * times)) "$seed" --data digits --batch 8 --steps 60 --save-every 3 \
  --ema 0.9 --diagnose 7 --sample-every 12 --sample-count 2
# A run that goes back to a checkpoint and on another way : the turn is a moment of its own.
"$MVCC" "$here/falls.mvs" -o "$work/f"
/usr/bin/python3 "$here/death.py" "$work/f" "$work/back" $((30 * times)) "$seed" --save-every 10 --steps 150 --watch rollback \
  --rollback-lr 0.1 --rollbacks 2 --sample-every 20 --sample-count 2
outputs() { /usr/bin/python3 "$here/death_outputs.py" "$@"; }
outputs file "$work/files/grid.png" $((20 * times)) "$seed" "$work/x" sample --weights "$work/plain/kept/latest" --count 100 --steps 2 \
  --out "$work/files/grid.png"
outputs file "$work/files/page.html" $((20 * times)) "$seed" "$work/x" report "$work/plain/kept" --out "$work/files/page.html"
# shellcheck disable=SC2086
outputs file "$work/files/y" $((3 * times)) "$seed" "$MVCC" "$root/models/digits.mvs" $small -o "$work/files/y"
# shellcheck disable=SC2086
outputs compare "$work/rules" $((3 * times)) "$seed" "$MVCC" compare "$root/models/digits.mvs" $small --residual plain --residual mvsplit \
  --samples 10 -- train --steps 60 --save-every 10 --batch 8

# Two processes in one folder would write over each other.
"$work/x" train --data digits --batch 8 --steps 1000000 --out "$work/one" >/dev/null 2>&1 & pid=$!
until [ -e "$work/one/metrics.jsonl" ]; do sleep 0.05; done
code=0; "$work/x" train --resume --out "$work/one" 2>"$work/log" || code=$?
if [ "$code" -eq 1 ] && grep -q "another process is training in" "$work/log"; then echo "ok a folder has one trainer"; else
  echo "not ok a folder has one trainer"; cat "$work/log"; fi
kill -KILL $pid; wait $pid 2>/dev/null || true
# What a start that was killed before its run.json had a name left does not stand in the way.
mkdir "$work/began"; echo '{' >"$work/began/.run.json.1.tmp"
if "$work/x" train --data digits --batch 8 --steps 1 --out "$work/began" >/dev/null 2>"$work/log" &&
  [ ! -e "$work/began/.run.json.1.tmp" ]; then echo "ok a start that was killed is started again"; else
  echo "not ok a start that was killed is started again"; cat "$work/log"; fi
