#!/bin/sh
# Every wrong model file gives its exact message; see tests/errors/run.sh.
exec "$(dirname "$0")/../errors/run.sh" "$MVCC"
