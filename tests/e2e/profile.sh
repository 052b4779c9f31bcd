#!/bin/sh
# `train --profile`: a Chrome trace of the third to fifth step, and a run that is the same as without it.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
x="$work/digits"
"$MVCC" "$root/models/digits.mvs" --set depth=3 -o "$x"
train() { out=$1; shift; "$x" train --device cpu --data digits --batch 8 --out "$work/$out" "$@" >"$work/log" 2>&1; }
say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat "$work/log"; fi; }

train plain --steps 7
train traced --steps 7 --save-every 4 --profile "$work/trace.json"
code=0; cmp -s "$work/plain/step-7.safetensors" "$work/traced/step-7.safetensors" || code=$?
say $code "a profile changes no bit"

/usr/bin/python3 - "$work/trace.json" <<'EOF'
import json, sys
events = json.load(open(sys.argv[1]))["traceEvents"]
slices = [e for e in events if e["ph"] == "X"]
tracks = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M"}
launches = [e for e in slices if tracks[e["tid"]].startswith("cpu")]
host = [e for e in slices if tracks[e["tid"]] == "host"]
end = lambda e: e["ts"] + e["dur"]


def say(title, good):
    print(("ok " if good else "not ok ") + title)


say("every event is on a named track", all(e["tid"] in tracks for e in slices) and len(tracks) == 2)
steps = [e for e in host if e["name"].startswith("step ")]
say("steps 3 to 5 are there", [e["name"] for e in steps] == ["step 3", "step 4", "step 5"])
phases = {n: [e for e in host if e["name"] == n] for n in ("samples", "gradients", "update", "wait", "save")}
say("every step has its phases", all(len(phases[n]) == 3 for n in ("samples", "gradients", "update", "wait")))
say("a checkpoint is one", len(phases["save"]) == 1)
say("phases stand within steps", all(any(s["ts"] <= e["ts"] and end(e) <= end(s) + 0.01 for s in steps)
                                     for n in phases for e in phases[n]))
grads = [e for e in host if e["name"] == "grad"]
say("a call a step", len(grads) == 3)
keys = {"what", "how", "function", "layer", "batch", "bytes", "flops"}
say("launches say what they are", len(launches) > 100 and all(set(e["args"]) == keys for e in launches))
# On the host work is done when its call returns, so launches lie within their call; 1 us for rounding.
say("launches lie within their calls", all(any(c["ts"] - 1 <= e["ts"] and end(e) <= end(c) + 1 for c in host
    if c["name"] == e["args"]["function"]) for e in launches))
say("launches of a track do not overlap", all(end(a) <= b["ts"] + 0.01 for a, b in zip(launches, launches[1:])))
forward = [e["args"]["layer"] for e in launches if e["cat"] == "attention"]
backward = [e["args"]["layer"] for e in launches if e["cat"] == "attention_grad"]
say("layers run up and down", forward == [0, 1, 2] * 3 and backward == [2, 1, 0] * 3)
matmul = [e for e in launches if e["cat"] == "matmul"]
say("matmuls have operations and bytes", all(e["args"]["flops"] > 0 and e["args"]["bytes"] > 0 for e in matmul))
EOF

code=0; train short --steps 2 --profile "$work/short.json" || code=$?
if [ $code -eq 1 ] && grep -q 'third to fifth step' "$work/log" && [ ! -e "$work/short" ]; then code=0; else code=1; fi
say $code "a run without those steps is refused before it starts"
code=0; train four --steps 4 --profile "$work/four.json" && grep -q '"step 4"' "$work/four.json" || code=1
say $code "a run that ends among them writes what there is"
