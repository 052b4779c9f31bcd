#!/bin/sh
# Compiles every whole example of the pages in docs/, and compares tests/errors with what the
# command line says.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
awk -v to="$work/" '/^```mvs$/ { on = 1; file = sprintf("%sexample%02d.mvs", to, ++n); next }
  /^```/ { on = 0 }  on { print > file }' "$root"/docs/*.md
for file in "$work"/example*.mvs; do
  name=$(basename "$file" .mvs)
  if "$MVCC" "$file" -o "$work/program" 2>"$work/log"; then echo "ok $name"; else
    echo "not ok $name"; cat "$work/log"; fi
done
cd "$root/tests/errors"
for file in *.mvs; do
  name=${file%.mvs}; code=0
  "$MVCC" "$file" -o /dev/null 2>"$work/$name.txt" || code=$?
  if [ "$code" -ne 0 ] && [ "$code" -lt 126 ] && diff "$name.txt" "$work/$name.txt"; then
    echo "ok error $name"; else echo "not ok error $name (exit $code)"; fi
done
