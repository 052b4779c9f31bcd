#!/bin/sh
# What a run shows while it goes on: its page, TensorBoard's event files, `watch`.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$MVCC" "$root/models/digits.mvs" --set depth=3 -o "$work/x"
cd "$work"
say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat log; fi; }
data() { sed -n 's/.*id="data">\(.*\)<\/script>.*/\1/p' "$1"; }

# Long enough for the page of a run that goes on: the first is written after 2 s.
./x train --device cpu --steps 1000000 --batch 8 --out run >log 2>&1 &
job=$!
until [ -e run/report.html ]; do sleep 0.1; done
code=0; data run/report.html | grep -q '"live":true.*"state":"running"' || code=1
say $code "a run that goes on has a page that loads itself anew"
code=0; timeout 60 ./x watch run --every 0.1 >watched & watching=$!
sleep 1; kill -INT $watching; wait $watching || code=$?
[ "$code" -eq 0 ] && [ "$(grep -c '^step [0-9]* of 1000000 .* left: loss' watched)" -ge 3 ] && [ "$(tail -n 1 watched)" = unfinished ] || code=1
say $code "watch prints lines as it goes on and ends with Ctrl-C"
kill -INT $job; wait $job
code=0; data run/report.html | grep -q '"live":false.*"state":"stopped".*"device":"x86-64-v[0-9][a-z0-9-]*".*"memory_bytes":[0-9]' || code=1
say $code "one that was stopped says so, and its device and memory"

# Steps 9 to 12 are taken twice: the checkpoint is of step 8.
./x train --device cpu --steps 12 --save-every 8 --batch 8 --out again >log 2>&1
rm again/step-12.safetensors
sleep 1 # event files are named by the second
./x train --device cpu --steps 14 --resume --out again >log 2>&1
code=0; data again/report.html | grep -q '"state":"done"' || code=1
say $code "one that ended says so"
code=0; ./x watch again >watched 2>log || code=$?
[ "$(tail -n 1 watched)" = "done" ] && grep -q 'step 14 of 14 (100 %)' watched || code=1
say $code "watch ends with the run"

/usr/bin/python3 "$here/report_runs.py" made 200 1
printf '{"step": 199, "level": "note", "rule": "x\\u001b[2J", "text": "a\\u001bb"}\n' >>made/0-0/alarms.jsonl
code=0; ./x watch made/0-0 >watched 2>log || code=$?
[ "$code" -eq 0 ] && grep -q '^collapse at ' watched && grep -q '^note at 199, x?\[2J: a?b' watched || code=1
say $code "watch prints alarms, and nothing in them moves the cursor"
code=0; ./x watch made/3-0 --once >watched 2>log || code=$?
[ "$code" -eq 0 ] && [ "$(tail -n 1 watched)" = "done" ] || code=1
say $code "watch looks once"
code=0; ./x watch none >watched 2>log || code=$?
[ "$code" -eq 1 ] && grep -q "no run in 'none'" log && code=0 || code=1
say $code "watch refuses a folder without a run"

if ! PYTHONPATH="$root/build-tensorboard" /usr/bin/python3 -c "import tensorboard" 2>/dev/null; then echo "skipped 6 no TensorBoard here"; exit 0; fi
PYTHONPATH="$root/build-tensorboard" PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=python /usr/bin/python3 - <<'EOF2'
import glob, json, struct
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader


def say(title, good):
    print(("ok " if good else "not ok ") + title)


files = sorted(glob.glob("again/events.out.tfevents.*"))
say("a file each time the run was begun", len(files) == 2)
first = list(EventFileLoader(files[0]).Load())
say("TensorBoard reads every event", first[0].file_version == "brain.Event:2" and [e.step for e in first[1:]] == list(range(1, 13)))
board = EventAccumulator("again")
board.Reload()
lines = [json.loads(line) for line in open("again/metrics.jsonl")]
single = lambda x: struct.unpack("f", struct.pack("f", x))[0]
say("its curves are those of metrics.jsonl", set(board.Tags()["scalars"]) >= {"loss", "grad_norm", "lr", "seconds"}
    and all(abs(e.value - single(l[tag])) <= 1e-7 * abs(l[tag]) for tag in ("loss", "grad_norm", "lr") for e, l in zip(board.Scalars(tag), lines)))
say("steps that were taken twice count once", [e.step for e in board.Scalars("loss")] == list(range(1, 15)))
say("times go up", all(a.wall_time <= b.wall_time for a, b in zip(first, first[1:])))
broken = bytearray(open(files[0], "rb").read())
broken[-20] ^= 1
open("broken.tfevents", "wb").write(broken)
try:
    left = len(list(EventFileLoader("broken.tfevents").Load()))
except Exception:
    left = 0
say("the checksum covers the data", left < len(first))
EOF2
