#!/bin/sh
# tests/errors/NAME.mvs must fail with exactly the words of NAME.txt and leave no file:
# run.sh MVCC [--bless]. Prints "ok NAME" or "not ok NAME" with the difference.
set -u
mvcc=${1:?usage: run.sh MVCC [--bless]}; bless=${2:-}
case $mvcc in */*) mvcc=$(cd "$(dirname "$mvcc")" && pwd)/$(basename "$mvcc") ;; esac
cd "$(dirname "$0")" || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
failed=0
for model in *.mvs; do
  name=${model%.mvs}
  if "$mvcc" "$model" -o "$work/out" >"$work/stdout" 2>"$work/stderr"; then
    echo "not ok $name: it compiles"; failed=1; rm -f "$work/out"; continue
  fi
  [ "$bless" = --bless ] && cp "$work/stderr" "$name.txt"
  if [ -e "$work/out" ] || [ -s "$work/stdout" ]; then
    echo "not ok $name: it leaves output"; failed=1; rm -f "$work/out"
  elif cmp -s "$work/stderr" "$name.txt"; then
    echo "ok $name"
  else
    echo "not ok $name"; diff -u "$name.txt" "$work/stderr"; failed=1
  fi
done
exit $failed
