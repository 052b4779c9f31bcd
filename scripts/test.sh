#!/bin/sh
# Installs what is missing, builds the release and runs every test. The last line is "N passed, N failed".
set -eu
cd "$(dirname "$0")/.."
./scripts/setup.sh tests
./scripts/build.sh release
exec ./tests/run.sh build
