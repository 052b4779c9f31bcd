#!/bin/sh
# Everything once under AddressSanitizer and UndefinedBehaviorSanitizer, with the assertions that releases leave out: the
# unit tests, and the compiler and a trainer on a small model. The sanitized build is incremental: the first one takes about two minutes.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
cd "$root"
./scripts/build.sh sanitize >"$work/build" 2>&1 || { echo "not ok the sanitized build"; tail -20 "$work/build"; exit 1; }
for unit in build-sanitize/tests/test_*; do
  name=$(basename "$unit")
  if "$unit" >"$work/log" 2>&1; then echo "ok $name under the sanitizers"; else echo "not ok $name under the sanitizers"; tail -30 "$work/log"; fi
done
mvcc=build-sanitize/mvcc
check() { title=$1; shift; if "$@" >"$work/log" 2>&1; then echo "ok $title"; else echo "not ok $title"; tail -30 "$work/log"; fi; }
check "mvcc compiles a model under the sanitizers" "$mvcc" models/digits.mvs --set depth=2 -o "$work/x"
check "a trainer trains under the sanitizers" "$work/x" train --data digits --batch 3 --steps 3 --recompute block --diagnose 2 --out "$work/run"
check "a trainer samples under the sanitizers" "$work/x" sample --weights "$work/run/latest" --count 3 --steps 2 --out "$work/x.png"
check "a trainer measures itself under the sanitizers" "$work/x" bench --steps 1 --batch 3 --json "$work/bench.json"
check "and its sampler" "$work/x" bench --sample --steps 1 --batch 3
check "a trainer writes a trace under the sanitizers" "$work/x" train --data digits --batch 3 --steps 4 --profile "$work/trace.json" --out "$work/traced"
check "mvcc run trains under the sanitizers" "$mvcc" run models/digits.mvs --set depth=2 train --batch 3 --steps 2 --out "$work/jit"
check "mvcc compares under the sanitizers" "$mvcc" compare models/digits.mvs --set depth=2 --residual plain --residual mvsplit --samples 3 -o "$work/rules" \
  -- train --batch 3 --steps 3
/usr/bin/python3 "$here/report_runs.py" "$work/made" 3000 1
check "a page over long runs under the sanitizers" "$work/x" report "$work"/made/* --out "$work/page.html"
check "watch under the sanitizers" "$work/x" watch "$work/made/0-0"
