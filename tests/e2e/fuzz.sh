#!/bin/sh
# Every reader of files against libFuzzer, from its kept corpus (tests/fuzz) and files of the tree: the same seed and as many
# inputs on any machine, some seconds of them; FUZZ_SECONDS=N looks for so long instead. Needs clang 19 (`scripts/setup.sh tests`
# brings it).
set -u
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd); cd "$root" || exit 1
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
command -v clang-19 >/dev/null || { echo "skipped 8 fuzz targets: clang-19 is not there"; exit 0; }
./scripts/build.sh fuzz >"$work/build" 2>&1 || { echo "not ok the fuzz targets build"; tail -20 "$work/build"; exit 1; }
# seeds NAME: folders besides its own, which libFuzzer does not write to.
seeds() {
  case $1 in
    language | compile) echo tests/fuzz/corpus/language tests/errors models examples ;;
    graph) echo tests/golden/plan tests/golden/simplify ;;
    program) echo "$work/programs" ;;
  esac
}
# Tables of two programs as they are today: kept ones are refused as soon as a check or the format changes.
mkdir "$work/programs"
printf 'model m {\n  input z : f32[4]\n  param w : f32[4] = 1\n  output v : z * w\n}\n' >"$work/small.mvs"
tables() {
  name=$1; shift
  "$MVCC" "$@" --cpu x86-64-v3 -o "$work/x" && /usr/bin/python3 tests/fuzz/program_tables.py "$work/x" "$work/programs/$name"
}
tables small "$work/small.mvs" && tables digits models/digits.mvs --set depth=2 --set width=32 --set heads=2 --set ffn=48 ||
  { echo "not ok the tables of programs are taken"; exit 1; }
# How far a target goes. Those that compile take milliseconds an input; tables of programs are up to 70 KB.
effort() {
  if [ -n "${FUZZ_SECONDS:-}" ]; then echo "-max_total_time=$FUZZ_SECONDS"; return; fi
  case $1 in language | compile) echo -runs=800 ;; program) echo -runs=20000 ;; *) echo -runs=80000 ;; esac
}
# Memory is bounded for what a few KB may ask for at once; 10 s an input is a hang.
one() {
  mkdir -p "$work/$1"
  # shellcheck disable=SC2046
  if "build-fuzz/fuzz/fuzz_$1" -seed=1 $(effort "$1") -timeout=10 -rss_limit_mb=2000 -malloc_limit_mb=256 \
    -artifact_prefix="$root/build-fuzz/$1-" "$work/$1" $([ -d "tests/fuzz/corpus/$1" ] && echo "tests/fuzz/corpus/$1") $(seeds "$1") \
    >"$work/$1.log" 2>&1; then
    echo "ok $1: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$work/$1.log") inputs"
  else
    echo "not ok $1: the input is in build-fuzz"; grep -v '^#' "$work/$1.log" | tail -30
  fi
}
# Two at a time, in the order of the files.
set --
for target in tests/fuzz/*.c; do
  name=$(basename "$target" .c)
  [ "$name" = fuzz ] || set -- "$@" "$name"
done
while [ $# -gt 0 ]; do
  one "$1" >"$work/first" & first=$!
  if [ $# -gt 1 ]; then one "$2"; shift; fi
  wait $first; cat "$work/first"; shift
done
