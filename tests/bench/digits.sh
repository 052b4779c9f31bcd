#!/bin/sh
# The digits training step beside the same model in eager PyTorch, interleaved: needs python3-torch, libopenblas0.
# Debian's PyTorch is given OpenBLAS (libopenblas0): with the reference BLAS it takes 1.6 times as long.
# usage: tests/bench/digits.sh BUILD [ROUNDS]
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd); rounds=${2:-5}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$build/mvcc" "$root/models/digits.mvs" -o "$work/digits"
for round in $(seq "$rounds"); do
  peer=$(/usr/bin/python3 "$here/digits_eager.py")
  rm -rf "$work/run"
  "$work/digits" train --data digits --steps 100 --out "$work/run" >/dev/null 2>&1
  ours=$(/usr/bin/python3 -c "
import json, statistics
rows = [json.loads(line) for line in open('$work/run/metrics.jsonl')]
print(statistics.median(row['seconds'] for row in rows[10:]) * 1e3)")
  echo "$peer $ours" | awk '{printf "eager %.1f ms, mvcc %.1f ms, ratio %.2f\n", $1, $2, $1 / $2}'
done | tee "$work/table"
sed 's/.*ratio //' "$work/table" | sort -n | awk '{v[NR] = $1} END {print "median ratio", v[int((NR + 1) / 2)]}'
