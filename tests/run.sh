#!/bin/sh
# Runs all tests of a build directory: tests/run.sh BUILD [NAME...]. Unit tests are cmocka programs;
# tests/e2e/*.sh print "ok NAME" or "not ok NAME" lines, and "skipped N WHY" for what this machine cannot run.
# Ends with "N passed, N failed"; before it stands how many were skipped. PATIENCE=N gives each test N times its time.
set -u
cd "$(dirname "$0")/.."
build=$(cd "$1" && pwd); shift
export MVCC="$build/mvcc" BUILD="$build"
# NVRTC where scripts/setup.sh had to bring it.
if [ -z "${MVCC_CUDA_PATH:-}" ] && [ -d build-cuda ]; then export MVCC_CUDA_PATH="$PWD/build-cuda"; fi
logs="$build/test-logs"; mkdir -p "$logs"
passed=0; failed=0; skipped=0
wanted() { [ $# -eq 1 ] && return 0; name=$1; shift; for w in "$@"; do [ "$w" = "$name" ] && return 0; done; return 1; }
for unit in "$build"/tests/test_*; do
  [ -x "$unit" ] || continue
  name=$(basename "$unit")
  wanted "$name" "$@" || continue
  log="$logs/$name.log"; code=0
  timeout $((600 * ${PATIENCE:-1})) "$unit" >"$log" 2>&1 || code=$?
  good=$(grep -c '\[       OK \]' "$log"); bad=$(grep -c '\[  FAILED  \].*[a-z]' "$log" | head -1)
  bad=$(grep '\[  FAILED  \] [0-9]* test' "$log" | sed 's/[^0-9]*\([0-9]*\).*/\1/' | head -1); bad=${bad:-0}
  [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
  [ "$good" -eq 0 ] && [ "$bad" -eq 0 ] && bad=1
  passed=$((passed + good)); failed=$((failed + bad))
  if [ "$bad" -ne 0 ]; then echo "FAILED $name (exit $code)"; tail -n 30 "$log"; else echo "ok     $name ($good)"; fi
done
for script in tests/e2e/*.sh; do
  [ -f "$script" ] || continue
  name=$(basename "$script" .sh)
  wanted "$name" "$@" || continue
  log="$logs/$name.log"; code=0; start=$(date +%s)
  timeout $((1200 * ${PATIENCE:-1})) sh "$script" >"$log" 2>&1 || code=$?
  good=$(grep -c '^ok ' "$log"); bad=$(grep -c '^not ok ' "$log")
  [ "$code" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
  left=$(sed -n 's/^skipped \([0-9][0-9]*\) .*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
  [ "$good" -eq 0 ] && [ "$bad" -eq 0 ] && [ "$left" -eq 0 ] && bad=1
  passed=$((passed + good)); failed=$((failed + bad)); skipped=$((skipped + left))
  if [ "$bad" -ne 0 ]; then echo "FAILED $name (exit $code)"; grep '^not ok' "$log"; tail -n 15 "$log"; else
    echo "ok     $name ($good, $(($(date +%s) - start)) s)"; grep '^skipped ' "$log"
  fi
done
echo "$skipped skipped"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
