#!/bin/sh
# The command line of mvcc: what each wrong use says, and that a failure leaves the output alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$root/models/digits.mvs" m.mvs
echo old >out

# says "NAME" "WORDS" ARGUMENT...: fails, says exactly WORDS on standard error, prints nothing.
says() {
  name=$1; words=$2; shift 2
  if "$MVCC" "$@" >stdout 2>stderr; then echo "not ok $name: it succeeds"; return; fi
  printf '%s\n' "$words" >wanted
  if ! cmp -s wanted stderr; then echo "not ok $name"; diff -u wanted stderr || true; return; fi
  if [ -s stdout ] || [ "$(cat out)" != old ]; then echo "not ok $name: it leaves output"; return; fi
  echo "ok $name"
}
# holds "NAME" "WORDS" ARGUMENT...: succeeds and prints WORDS somewhere.
holds() {
  name=$1; words=$2; shift 2
  if "$MVCC" "$@" >stdout 2>stderr && grep -q -e "$words" stdout; then echo "ok $name"; else
    echo "not ok $name"; cat stderr; fi
}

says "no file" "mvcc: error: no model file is given; see mvcc --help"
says "nothing to do" \
  "mvcc: error: nothing to do: name an executable with -o OUT, or use --emit or --explain" m.mvs
says "two files" "mvcc: error: one model file at a time: 'm.mvs' and 'n.mvs'" m.mvs n.mvs -o out
says "no such file" "mvcc: error: cannot read 'n.mvs': No such file or directory" n.mvs -o out
says "unknown option" "mvcc: error: there is no option '--emti'
      = hint: did you mean '--emit'?" m.mvs --emti ast
says "value missing" "mvcc: error: --emit needs a value: STAGE" m.mvs --emit
says "value given" "mvcc: error: --explain takes no value" m.mvs --explain=yes
says "unknown stage" \
  "mvcc: error: --emit knows ast, graph, dot, plan, kernels, llvm and cuda, not 'asm'" \
  m.mvs --emit asm
says "unknown pass" "mvcc: error: there is no pass 'fusee'
      = hint: did you mean 'fuse'?" m.mvs --until fusee
says "kernels too early" \
  "mvcc: error: kernels exist only after the last pass: leave --until away" \
  m.mvs --emit kernels --until fuse
says "unknown cpu" "mvcc: error: --cpu knows x86-64-v3, x86-64-v4, x86-64-v4-bf16 and x86-64-v4-amx, not 'z80'" \
  m.mvs --cpu z80 -o out
says "bad --set" "mvcc: error: --set needs NAME=EXPR, got '3=4'" m.mvs --set 3=4 -o out
says "unknown let" "mvcc: error: --set dpeth: the model has no \`let\` of that name
      = hint: did you mean 'depth'?" m.mvs --set dpeth=3 -o out
says "run writes nothing" "mvcc: error: \`mvcc run\` writes no file and emits nothing" \
  run m.mvs -o out info
says "output in no folder" "mvcc: error: cannot write 'no/out': No such file or directory" \
  m.mvs -o no/out
says "output is a folder" "mvcc: error: cannot write '$work': Is a directory" m.mvs -o "$work"
says "output is the model" "mvcc: error: -o 'm.mvs' is the model file itself; choose another" m.mvs -o m.mvs
says "a device is full" "mvcc: error: cannot write '/dev/full': No space left on device" m.mvs --emit graph -o /dev/full
says "compare emits nothing" "mvcc: error: \`mvcc compare\` emits and explains nothing" compare m.mvs --emit ast -- train
says "compare counts" "mvcc: error: --seeds needs a whole number from 1 to 1000, not 'many'" \
  compare m.mvs --seeds many -- train
if "$MVCC" m.mvs --set "depth=$(seq -s , 65)" -o out >stdout 2>stderr; then echo "not ok too many values: it succeeds"; else
  grep -q "^--set depth:1:1: error: 'depth' has 65 values, the limit is 64$" stderr && [ "$(cat out)" = old ] &&
    echo "ok too many values" || { echo "not ok too many values"; cat stderr; }
fi
(MVCC_TRAINER=/nonexistent; export MVCC_TRAINER
 says "no trainer" "mvcc: error: cannot read the trainer '/nonexistent': No such file or directory" \
   m.mvs -o out)

holds "version" "^mvcc [0-9]" --version
holds "help" "usage: mvcc FILE.mvs" --help
holds "run hands --help on" "train " run m.mvs --help
holds "ast" "model digits" m.mvs --emit ast
holds "graph as lowered" "function loss" m.mvs --until lower
holds "graph" "function grad" m.mvs --emit graph
holds "dot" "digraph" m.mvs --emit dot
holds "plan" "function grad" m.mvs --until memory
holds "kernels" "kernel rows" m.mvs --emit kernels
holds "llvm" "define " m.mvs --emit llvm --set depth=2
holds "cuda" "__global__" m.mvs --emit cuda
holds "explain" "residual mvsplit" m.mvs --explain
holds "residual" "residual rezero" m.mvs --explain --residual rezero
holds "run" "parameters" run m.mvs --set depth=2 info
holds "rule by condition" "^residual prenorm" m.mvs --emit graph --set depth=2 --residual 'if depth > 2 then plain else prenorm'
# Standard output is full: both ways to it.
for what in "--emit graph" "--explain -o copy"; do
  # shellcheck disable=SC2086
  if "$MVCC" m.mvs --set depth=2 $what >/dev/full 2>stderr; then echo "not ok $what into a full disk succeeds"; else
    printf '%s\n' "mvcc: error: cannot write 'standard output': No space left on device" | cmp -s - stderr &&
      echo "ok $what into a full disk" || { echo "not ok $what into a full disk"; cat stderr; }
  fi
done
# A label that no parameter has: one of several is explained, one alone in its line is told in any case.
cat m.mvs - >labels.mvs <<'END'
residual labels {
  init writers, w1 = zero
  init v_prj = fan_in(0.5)
  rmsnorm(x + f)
}
END
holds "idle label" "no parameter has the label w1, in a line of rule deepnorm, std/residuals.mvs:" m.mvs --explain \
  --residual deepnorm
[ ! -s stderr ] && echo "ok idle label is no note" || { echo "not ok idle label is no note"; cat stderr; }
holds "idle line" "function grad" labels.mvs --emit plan --residual labels
line=$(grep -n v_prj labels.mvs | cut -d: -f1)
printf '%s\n' "mvcc: note: no parameter has the label v_prj: a line of rule labels, labels.mvs:$line does nothing; did you mean 'v_proj'?" |
  cmp -s - stderr && echo "ok idle line is a note" || { echo "not ok idle line is a note"; cat stderr; }

holds "groups" "^group  *lr x 0 (frozen), decay x 0: 512 parameters, .*norm1.alpha and 3 more" run m.mvs \
  --set depth=2 --residual 'mvsplit(rate = 0)' info

"$MVCC" m.mvs --emit graph -o text >stdout && grep -q "function grad" text && [ ! -s stdout ] &&
  echo "ok text goes to -o" || echo "not ok text goes to -o"
"$MVCC" m.mvs --set depth=2 -o /dev/null && [ -c /dev/null ] &&
  echo "ok a device is not replaced" || echo "not ok a device is not replaced"
"$MVCC" m.mvs --set depth=2 -o out && ./out info | grep -q "blocks: 2 layers" &&
  echo "ok executable" || echo "not ok executable"
head -c $(($(wc -c <out) - 100)) out >cut && chmod +x cut
if ./cut info >stdout 2>stderr; then echo "not ok a cut executable runs"; else
  [ "$(wc -l <stderr)" -eq 1 ] && echo "ok a cut executable says so" || { echo "not ok a cut executable"; cat stderr; }
fi
