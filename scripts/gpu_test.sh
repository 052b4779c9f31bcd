#!/bin/sh
# Every test that needs an NVIDIA GPU. The last line is "N passed, N failed".
# usage: scripts/gpu_test.sh            builds mvcc and compiles the programs here
#        scripts/gpu_test.sh FOLDER     takes programs and gpu_check from FOLDER, made elsewhere by
#                                       tests/gpu/compile.sh, for a machine without LLVM
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
  exec ./tests/gpu/run.sh "$1/gpu_check" "$1"
fi
./scripts/build.sh release
MVCC=build/mvcc ./tests/gpu/compile.sh build/gpu
exec ./tests/gpu/run.sh build/tests/gpu_check build/gpu
