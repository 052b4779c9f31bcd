#!/bin/sh
# Which lines and branches the tests run, by folder, and files that they leave out. Builds into build-coverage.
# usage: scripts/coverage.sh [TEST...]      default: all tests but those that build or time something of their own
set -eu
cd "$(dirname "$0")/.."
./scripts/build.sh coverage
find build-coverage -name '*.gcda' -delete
export PATIENCE="${PATIENCE:-5}"
# A test that fails still counts as run; its own place to fail is scripts/test.sh. One that is ended leaves no counts.
if [ $# -gt 0 ]; then
  tests/run.sh build-coverage "$@" || true
else
  for test in tests/e2e/*.sh; do
    case $(basename "$test" .sh) in depth | fuzz | gemm | gpu | house | sanitize | speed | threads | tidy) ;; *) set -- "$@" "$(basename "$test" .sh)" ;; esac
  done
  # Beside each other, since most of either has one thread: programs add to their counts under a lock.
  (cd build-coverage/tests && ls test_*) | xargs tests/run.sh build-coverage &
  tests/run.sh build-coverage "$@" || true
  wait
fi
/usr/bin/python3 tests/coverage.py build-coverage --least 90
