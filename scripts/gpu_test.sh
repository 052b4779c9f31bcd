#!/bin/sh
# Every test that needs an NVIDIA GPU, then figures, into docs/results/GPU.json. The last line is "N passed, N failed".
# usage: scripts/gpu_test.sh            builds mvcc and compiles the programs here
#        scripts/gpu_test.sh FOLDER     takes programs, their hash, gpu_check and gpu_ops from FOLDER, made elsewhere by
#                                       tests/gpu/compile.sh, for a machine without LLVM
# The parts may run one by one: GPU_PARTS="compile tests block peers released rules whole report" (default: all); their results
# wait in FOLDER/results. `compile` runs beside the tests, which time nothing; RELEASED: see tests/gpu/figures.sh.
# GPU_JSON names another file than docs/results/GPU.json.
set -eu
cd "$(dirname "$0")/.."
if [ $# -gt 0 ]; then
  programs=$1; check=$1/gpu_check
else
  programs=build/gpu; check=build/tests/gpu_check
  ./scripts/build.sh release
  MVCC=build/mvcc ./tests/gpu/compile.sh "$programs"
fi
results=$programs/results; json=${GPU_JSON:-docs/results/GPU.json}; code=0
mkdir -p "$results" "$(dirname "$json")"
for part in ${GPU_PARTS:-compile tests block peers released rules whole report}; do
  [ "$part" = tests ] || wait
  case $part in
    compile) ./tests/gpu/figures.sh "$programs" "$results" compile & ;;
    tests) ./tests/gpu/run.sh "$check" "$programs" "$results/tests.log" || code=$? ;;
    block | peers | released | rules | whole) ./tests/gpu/figures.sh "$programs" "$results" "$part" || code=$? ;;
    report) "${PYTHON:-python3}" tests/gpu/report.py "$programs" "$results" "$json" || code=$? ;;
    *) echo "GPU_PARTS: there is no part '$part'" >&2; exit 2 ;;
  esac
done
[ ! -f "$results/tests.log" ] ||
  echo "$(grep -c '^ok ' "$results/tests.log") passed, $(grep -c '^not ok ' "$results/tests.log") failed"
exit "$code"
