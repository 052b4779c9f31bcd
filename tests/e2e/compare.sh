#!/bin/sh
# `mvcc compare`: the same runs as by hand, whatever happens to one of them, and on from where it was.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
printf 'use "%s/models/digits.mvs"\nresidual explode() { rmsnorm(x) * 1e30 + f * 1e30 }\n' "$root" >model.mvs
compare() { code=0; "$MVCC" compare model.mvs --set depth=3 "$@" >out 2>log || code=$?; }
say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat out log; fi; }
losses() { sed 's/, "lr".*//' "$1"; } # times differ
check() { /usr/bin/python3 - "$@" <<'EOF2' || true
import json, sys
folder, *wanted = sys.argv[1:]
rules = json.load(open(folder + "/compare.json"))["rules"]
states = [rule["folder"].split("/")[-1] + ":" + ",".join(run["state"] for run in rule["runs"]) for rule in rules]
print(("ok " if states == wanted else "not ok ") + folder + ": " + " ".join(states))
EOF2
}

compare --residual plain --residual 'layerscale(gamma = 0.01)' --seeds 2 --jobs 2 --samples 8 -o both -- train --steps 12 --batch 16 --seed 5 --diagnose 4
say $code "two rules, two seeds, side by side"
check both plain:done,done layerscale-gamma-0.01:done,done
[ "$(grep -c 'done 2/2' out)" -eq 2 ] && grep -q 'over seeds' out && code=0 || code=1
say $code "the table has a line a rule"
ls both/*/seed-[56]/samples.png both/report.html >/dev/null 2>log && [ "$(ls -d both/*/seed-? | wc -l)" -eq 4 ] && code=0 || code=1
say $code "seeds count on, pictures and the page are there"
"$MVCC" model.mvs --set depth=3 --residual 'layerscale(gamma = 0.01)' -o x
./x train --steps 12 --batch 16 --seed 6 --diagnose 4 --out alone >out 2>log
cmp -s alone/step-12.safetensors both/layerscale-gamma-0.01/seed-6/step-12.safetensors && code=0 || code=1
say $code "a run is bit for bit the one taken alone"

# Settings in turn, of a model that compiles in no time: each width (and its depth) under each rule; hidden follows.
cat >small.mvs <<'END'
let width = 8, depth = 1, hidden = 2 * width
model small {
  input zt : f32[1, 8, 8]
  x = patch_embed(zt, 2, width) as patch_embed
  residual plain as norm
  stack depth as blocks { x <- swiglu(x, hidden) as ffn }
  output velocity : unpatchify(linear(x, 4, bias = true) as final_proj, 2)
}
train { objective rectified_flow optimizer adamw(lr = 1e-3) batch 8 precision f32 data "digits" }
END
vary() { # what, options
  code=0; what=$1; shift
  "$MVCC" compare small.mvs --cpu x86-64-v3 --residual plain --residual mvsplit --vary "$what" --jobs 2 --samples 4 -o vary "$@" -- train --steps 4 --sample-every 2 >out 2>log || code=$?
}
vary 'width = 16, 32; depth=2,3' --seeds 2
say $code "two rules by two widths, two seeds"
wide=width-32-depth-3
check vary plain-width-16-depth-2:done,done plain-$wide:done,done mvsplit-width-16-depth-2:done,done mvsplit-$wide:done,done
[ "$(awk 'NR <= 5 {print $1 "," $2 "," $3}' out | tr '\n' ' ')" = "rule,width,depth plain,16,2 plain,32,3 mvsplit,16,2 mvsplit,32,3 " ] && code=0 || code=1
say $code "the table has a column for what is varied"
/usr/bin/python3 - <<'EOF2' >log 2>&1 && code=0 || code=1
import json
rule = json.load(open("vary/compare.json"))["rules"][3]
settings = json.load(open(rule["folder"] + "/seed-1/run.json"))["settings"]
assert rule["varied"] == {"residual": "mvsplit", "width": "32", "depth": "3"}, rule["varied"]
assert [settings[name] for name in ("let width", "let depth", "let hidden", "precision")] == ["32", "3", "64", "f32"], settings
EOF2
say $code "compare.json and the runs hold it"
"$MVCC" small.mvs --cpu x86-64-v3 --set width=32 --set depth=3 --residual mvsplit -o x
./x train --steps 4 --seed 1 --out alone3 >out 2>log
cmp -s alone3/step-4.safetensors vary/mvsplit-$wide/seed-1/step-4.safetensors && code=0 || code=1
say $code "a run under a setting is bit for bit the one taken alone"
./x train --steps 4 --seed 1 --lr 2e-3 --out slow >out 2>log
./x report vary/plain-width-16-depth-2/seed-0 vary/mvsplit-width-16-depth-2/seed-0 vary/mvsplit-$wide/seed-0 alone3 slow --out two.html >out 2>log
[ "$(grep -o '"rule":"[^"]*","seed"' two.html | cut -d'"' -f4 | tr '\n' ';')" = \
  'plain;mvsplit, width = 16, depth = 2, hidden = 32, --lr 0.001;mvsplit, width = 32, depth = 3, hidden = 64, --lr 0.001;mvsplit, width = 32, depth = 3, hidden = 64, --lr 0.001;mvsplit, width = 32, depth = 3, hidden = 64, --lr 0.002;' ] && code=0 || code=1
say $code "a page over runs names those of one rule by what differs"
/usr/bin/python3 -c 'import json; r = json.load(open("slow/run.json")); del r["settings"]; json.dump(r, open("slow/run.json", "w"))'
./x report alone3 slow --out two.html >out 2>log
[ "$(grep -o '"rule":"[^"]*","seed"' two.html | cut -d'"' -f4 | tr '\n' ';')" = 'mvsplit, --lr 0.001;mvsplit, --lr 0.002;' ] && code=0 || code=1
say $code "a record of an older version, without settings, differs in none"
before=$(stat -c %y vary/plain-$wide/seed-0/step-4.safetensors)
vary 'width=16,32,24;depth=2,3,1' --resume
check vary plain-width-16-depth-2:done plain-$wide:done plain-width-24-depth-1:done \
  mvsplit-width-16-depth-2:done mvsplit-$wide:done mvsplit-width-24-depth-1:done
[ "$code" -eq 0 ] && [ "$before" = "$(stat -c %y vary/plain-$wide/seed-0/step-4.safetensors)" ] || code=1
say $code "--resume takes a value more and leaves what is done"

# A comparison that is gone on with is the one that was begun, also where its runs are whole.
again() { code=0; "$MVCC" compare small.mvs --cpu x86-64-v3 --vary width=16,24 --samples 0 -o again "$@" >out 2>log || code=$?; }
again -- train --steps 4
say $code "two widths"
before=$(cat again/*/trainer | cksum)
again --set hidden=20 --resume -- train --steps 4
[ "$code" -eq 1 ] && grep -q "'again/width-16/seed-0' holds a run with let hidden = 32, and this program was compiled with 20" log && \
  [ "$before" = "$(cat again/*/trainer | cksum)" ] && code=0 || code=1
say $code "refused under other settings, with nothing written"
again --resume -- train --steps 4 --lr 1e-2
check again width-16:failed width-24:failed
[ "$code" -eq 1 ] && grep -q 'width = 16, seed 0: failed: --lr .* differs from what the run' log && code=0 || code=1
say $code "refused under another option of the trainer"
before=$(stat -c %y again/*/seed-0/run.json)
again --resume -- train --steps=4 --lr 0.001 --threads 1
[ "$code" -eq 0 ] && [ "$before" = "$(stat -c %y again/*/seed-0/run.json)" ] || code=1
say $code "a number in other words is the same, and threads are no matter"
again --resume -- train --steps 6
check again width-16:done width-24:done
ls again/width-16/seed-0/step-6.safetensors again/width-24/seed-0/step-6.safetensors >>log 2>&1 || code=1
say $code "whole runs go on to more steps"

echo junk >again/width-16/seed-0/samples-3.png
again --resume -- train --steps 6
[ "$code" -eq 1 ] && [ "$(tail -n 1 log)" = "mvcc: width = 16, seed 0: done: 'again/width-16/seed-0/samples-3.png' is no PNG file" ] && code=0 || code=1
say $code "what cannot be read of a run is told in a line"

compare --residual explode --residual plain --samples 0 -o blown -- train --steps 6 --batch 16
say $code "a rule that diverges ends no other and is a result"
check blown explode:diverged plain:done
grep -q 'explode, seed 0: diverged: training diverged: at step 1' log && code=0 || code=1
say $code "why it ended is told"

compare --residual plain --residual sandwich --samples 0 -o whole -- train --steps 300 --batch 16
# What is killed is a trainer of this folder, found by its full path.
( "$MVCC" compare model.mvs --set depth=3 --residual plain --residual sandwich --samples 0 -o killed -- train --steps 300 --batch 16 \
    --save-every 20 >out 2>log && echo 0 >status || echo $? >status ) &
until ls killed/plain/seed-0/step-* >/dev/null 2>&1; do sleep 0.05; done
kill -9 "$(pgrep -f '^killed/plain/trainer')"
wait
[ "$(cat status)" -eq 1 ] && grep -q 'plain, seed 0: failed: ended by signal 9' log && code=0 || code=1
say $code "a trainer that dies is told by the exit status"
check killed plain:failed sandwich:done
compare --residual plain --residual sandwich --samples 0 -o killed --resume -- train --steps 300 --batch 16 --save-every 20
losses killed/plain/seed-0/metrics.jsonl >a; losses whole/plain/seed-0/metrics.jsonl >b
cmp a b >>log && [ "$code" -eq 0 ] || code=1
say $code "--resume takes it to its end, bit for bit"

( exec "$MVCC" compare model.mvs --set depth=3 --residual plain --residual sandwich --samples 0 -o halted -- train --steps 300 --batch 16 >out 2>log ) &
job=$!
until [ -s halted/plain/seed-0/metrics.jsonl ]; do sleep 0.05; done
kill -INT $job; code=0; wait $job || code=$?
say $code "Ctrl-C ends it with a table"
check halted plain:stopped sandwich:waiting
compare --residual plain --residual sandwich --samples 0 -o halted --resume -- train --steps 300 --batch 16
losses halted/plain/seed-0/metrics.jsonl >a
cmp a b >>log && [ "$code" -eq 0 ] || code=1
say $code "and goes on from there, bit for bit"

# What started it may ignore SIGCHLD; then ended trainers must be seen all the same.
code=0; timeout -k 5 120 /usr/bin/python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])' \
  "$MVCC" compare model.mvs --set depth=1 --residual plain --samples 0 -o ignored -- train --steps 2 --batch 2 >out 2>log || code=$?
say $code "it ends where SIGCHLD is ignored"

# The rate climbs to a thousand times what is good: the loss collapses after some 240 steps, and stays finite by the norm.
cat >falls.mvs <<'END'
residual normed { rmsnorm(x + f) }
model falls {
  input zt : f32[1, 8, 8]
  x = patch_embed(zt, 2, 16) as patch_embed
  residual normed as norm
  stack 4 as blocks { x <- swiglu(x, 32) as ffn }
  output velocity : unpatchify(linear(x, 4, bias = true) as final_proj, 2)
}
train { objective rectified_flow optimizer adamw(lr = 1) schedule warmup(200) batch 16 precision f32 data "digits" }
END
( "$MVCC" compare falls.mvs --samples 0 -o fallen -- train --steps 1000000 --watch warn >out 2>log && echo 0 >status || echo $? >status ) &
until grep -qs collapse fallen/*/seed-0/alarms.jsonl; do sleep 0.05; done
kill -9 "$(pgrep -f '^fallen/.*/trainer')"
wait
[ "$(cat status)" -eq 1 ] && grep -q 'failed: ended by signal 9' log && code=0 || code=1
say $code "a run that collapsed, went on and died is a failure"
code=0; "$MVCC" compare falls.mvs --samples 0 -o fell -- train --steps 1000 --watch stop >out 2>log || code=$?
say $code "one that the watch stopped is a result"
check fell the-model-s-own:collapsed

refused() { # title, message
  if [ "$code" -eq 1 ] && grep -q "$2" log; then code=0; else code=1; fi; say $code "refused: $1"
}
compare --residual plain --residual 'nonsense(3)' -o none -- train --steps 5
refused "a rule that does not compile, before anything is trained" 'nothing was trained'
[ ! -e none ] && code=0 || code=1; say $code "nothing was trained, and nothing is left of it"
mkdir -p none/plain; : >none/plain/mine
compare --residual plain --residual 'nonsense(3)' -o none --resume -- train --steps 5
[ -e none/plain/mine ] && [ -e none/plain/trainer ] && code=0 || code=1; say $code "of a folder that is gone on with nothing is taken"
rm -r none
compare --residual plain -o both -- train; refused "a folder with something in it" "'both' is not empty"
compare --residual plain --residual plain -o none -- train; refused "a rule given twice" 'given twice'
varied() { compare "$@" -o never -- train; }
varied --vary width=32; refused "one value" '.--vary width has one value; --set sets one'
varied --vary width; refused "no value" ".--vary needs NAME=A,B,..., got 'width'"
varied --vary 'width=32,64; ffn=1,2,3'; refused "lists of two lengths" "'width' and 'ffn' together, but they have 2 and 3 values"
varied --vary width=32,32; refused "a value given twice" "'width = 32' is given twice"
varied --vary width=32,64 --vary width=1,2; refused "a let varied twice" "'width' is varied twice"
varied --residual plain --vary residual=plain,mvsplit; refused "two lists of rules" "'residual' is varied twice"
varied --vary depth=1,2; refused "a let that is set and varied" "'depth' is set by --set and varied by --vary"
varied --vary wdth=1,2; refused "a let that is not there" '.--vary wdth: the model has no .let. of that name'
varied --vary 'width=32,(6'; refused "what is no expression" '^--vary width:1:6: error'
[ ! -d never ] && code=0 || code=1; say $code "nothing was written"
many=$(seq -s, 1 40)
varied --vary width="$many" --vary ffn="$many"; refused "too many" 'more than 1000 configurations'
compare --residual plain -o none -- sample; refused "another command" 'what to do is missing'
compare --residual plain -o none -- train --out x; refused "a folder for one run" 'gives every run its --out'
code=0; "$MVCC" model.mvs -o none --vary width=1,2 >out 2>log || code=$?; refused "--vary without compare" 'belongs to .mvcc compare'
code=0; "$MVCC" model.mvs -o none --seeds 3 >out 2>log || code=$?; refused "--seeds without compare" 'belongs to .mvcc compare'
compare --residual plain --samples 0 -o lost -- train --data nowhere; refused "data that are not there" "plain, seed 0: failed: .*nowhere"

if [ -z "$(/usr/bin/python3 -c "import sys; sys.path.insert(0, '$here'); import browser; print(browser.find() or '')")" ]; then
  echo "skipped 7 no Chromium here"; exit 0
fi
PYTHONPATH="$here" /usr/bin/python3 - <<'EOF2'
import browser

page = browser.Browser()
try:
    for name, words in (("both", "tcs"), ("both", "done 2 of 2"), ("vary", "6 configurations"), ("blown", "diverged at 1"), ("lost", "failed")):
        page.open(name + "/report.html", 1400, False)
        said, text = page.complaints(), page.run("document.body.innerText")
        print(f"{'not ok' if said or words not in text else 'ok'} the page of '{name}' in a browser {said}")
    page.open("vary/report.html", 1400, True)
    differ = page.run("[...document.querySelectorAll('table.settings tbody tr')].map((row) => row.innerText.replace(/\\s+/g, ' ').trim())")
    wanted = {"let width 16 32 24 16 32 24", "let depth 2 3 1 2 3 1", "let hidden 32 64 48 32 64 48"}
    good = wanted <= set(differ) and not any("precision" in row for row in differ)
    print(f"{'ok' if good else 'not ok'} its settings say how configurations differ {differ if not good else ''}")
    # Grids of one step side by side, here six in two rows; the newest first, and any on request.
    shown = lambda: page.run("[...document.querySelectorAll('.pictures')].map((grid) => grid.hidden ? 0 : grid.querySelectorAll('img').length)")
    tops = "[...document.querySelectorAll('.pictures:not([hidden]) img')].map((one) => Math.round(one.getBoundingClientRect().top))"
    choose = "(() => {{ const one = document.querySelector('#samples'); one.value = '{}'; one.dispatchEvent(new Event('change')); }})()"
    choose = choose.replace("#samples", "#samples select")
    first, rows = shown(), page.run(tops)
    page.run(choose.format("samples-2"))
    second = shown()
    page.run(choose.format("all"))
    words = page.run("[...document.querySelectorAll('#samples option')].map((one) => one.innerText)")
    good = first == [0, 0, 6] and second == [6, 0, 0] and shown() == [6, 6, 6] and len(set(rows)) == 2 and words[:2] == ["step 2", "step 4"]
    print(f"{'ok' if good else 'not ok'} grids of a step stand side by side {(first, second, rows, words) if not good else ''}")
finally:
    page.close()
EOF2
