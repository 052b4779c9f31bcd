#!/bin/sh
# One executable holds code for several levels of processors; MVCC_CPU holds a run to one. Each level gives the same
# bits with one thread and with two; AVX2 and AVX-512 give each other's, and in f32 so does AVX-512 with pairs of bf16;
# products of pairs and of tiles of bf16, and of f32 in tiles, have an order of their own and stay near. What cannot run
# is an error.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
report() { if [ "$1" = 0 ]; then echo "ok $2"; else echo "not ok $2"; fi; }
for precision in f32 bf16; do
  printf 'use "%s/models/digits.mvs" with depth = 2, width = 96, heads = 3, ffn = 160, patch = 1\ntrain { precision %s }\n' \
    "$root" $precision >$precision.mvs
  "$MVCC" $precision.mvs -o $precision
done
levels="x86-64-v3 x86-64-v4 x86-64-v4-bf16 x86-64-v4-amx"
runs=""; lacking=""
for level in $levels; do
  if MVCC_CPU=$level ./f32 grad --help >/dev/null && MVCC_CPU=$level ./f32 train --data digits --steps 1 --batch 2 --out try-$level 2>log; then
    runs="$runs $level"
  elif grep -q "error: MVCC_CPU is $level: .* has no \|the kernel does not grant" log; then
    lacking="$lacking $level"
  else
    echo "not ok $level runs or says why not"; cat log
  fi
done
for level in $runs; do
  for precision in f32 bf16; do
    for threads in 1 2; do
      MVCC_CPU=$level ./$precision train --data digits --steps 3 --batch 5 --threads $threads --out $precision-$level-$threads 2>log || cat log
    done
    code=0; cmp $precision-$level-1/step-3.safetensors $precision-$level-2/step-3.safetensors || code=1
    report $code "$precision at $level: one thread and two, the same bits"
  done
  code=0; MVCC_CPU=$level ./bf16 info | grep -q "^processor   $level (" || code=1
  report $code "$level is what info says"
done
last=""
for level in $runs; do
  for precision in f32 bf16; do
    case $precision-$level in
      *-x86-64-v3) continue ;;
      *-x86-64-v4|f32-x86-64-v4-bf16) wanted=0; title="the bits of $last" ;;
      *) wanted=1; title="bits of its own" ;;
    esac
    code=0; cmp -s $precision-$level-1/step-3.safetensors $precision-$last-1/step-3.safetensors || code=1
    report $((code != wanted)) "$precision at $level: $title"
  done
  last=$level
done
# In bf16 every product is rounded to it, 2^-9, whatever the order of its sum; a loss is a mean over 320 of such errors and more (weights of attention are rounded, too).
# In f32 it is a mean of what sums of up to 320 terms make, each off by some 2^-24, 6e-8 (seen: 5e-9).
/usr/bin/python3 - $runs <<'EOF'
import json, sys
for precision, allowed in (("f32", 1e-6), ("bf16", 2e-3)):
    first = None
    for level in sys.argv[1:]:
        loss = [json.loads(line)["loss"] for line in open(f"{precision}-{level}-1/metrics.jsonl")]
        first = first or loss
        far = max(abs(a - b) / abs(b) for a, b in zip(loss, first))
        print(f"{'ok' if far <= allowed else 'not ok'} {precision} at {level}: losses within {far:.1e} of the first level's")
EOF
says() { # title, wanted words, value of MVCC_CPU, program
  code=0; MVCC_CPU=$3 "$4" train --data digits --steps 1 --out never >log 2>&1 && code=1
  grep -q "$2" log || { code=1; cat log; }
  report $code "$1"
}
says "a level that is none" "error: MVCC_CPU knows x86-64-v3, x86-64-v4, .* not 'avx2'" avx2 ./f32
code=0; MVCC_CPU=avx2 ./f32 info >log || code=1
grep -q "^processor   runs none of it: MVCC_CPU knows x86-64-v3, .* not 'avx2'$" log || code=1
report $code "info says why no code runs"
code=0; MVCC_CPU=avx2 "$MVCC" run f32.mvs info >log 2>&1 && code=1
grep -q "^mvcc: error: MVCC_CPU knows x86-64-v3, .* not 'avx2'$" log || { code=1; cat log; }
report $code "mvcc run at a level that is none"
code=0; MVCC_CPU= "$MVCC" run f32.mvs info >log 2>&1 || { code=1; cat log; }
report $code "an empty MVCC_CPU asks for nothing"
"$MVCC" f32.mvs --cpu x86-64-v4 -o v4
case $runs in *x86-64-v4*)
  says "a level below the program's" "error: MVCC_CPU is x86-64-v3: this program has code for x86-64-v4 and better" x86-64-v3 ./v4 ;;
esac
set -- $lacking
[ $# = 0 ] || echo "skipped $((7 * $#)) this processor runs no$lacking"
