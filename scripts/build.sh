#!/bin/sh
# Builds the release into build/ (or the preset named as the first argument).
set -eu
cd "$(dirname "$0")/.."
preset=${1:-release}
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -- -k 0
