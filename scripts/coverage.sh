#!/bin/sh
# Which lines and branches the tests run, by folder, and files that they leave out. Builds into build-coverage.
# usage: scripts/coverage.sh [TEST...]      default: all tests but those that build or time something of their own
set -eu
cd "$(dirname "$0")/.."
./scripts/build.sh coverage
find build-coverage -name '*.gcda' -delete
if [ $# -eq 0 ]; then
  for test in build-coverage/tests/test_* tests/e2e/*.sh; do
    case $(basename "$test" .sh) in depth | fuzz | gemm | gpu | house | sanitize | speed | threads | tidy) ;; *) set -- "$@" "$(basename "$test" .sh)" ;; esac
  done
fi
# A test that fails still counts as run; its own place to fail is scripts/test.sh. One that is ended leaves no counts.
PATIENCE=${PATIENCE:-5} tests/run.sh build-coverage "$@" || true
/usr/bin/python3 tests/coverage.py build-coverage --least 90
