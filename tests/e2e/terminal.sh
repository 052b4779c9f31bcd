#!/bin/sh
# What is drawn on a terminal: the line of progress, also behind a rollback, and `watch`.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
# Falls at step 94, and goes back some ten steps or more.
"$MVCC" "$here/falls.mvs" -o x
/usr/bin/python3 "$here/report_runs.py" made 200 1
PYTHONPATH="$here" /usr/bin/python3 - <<'EOF2'
import re
import terminal


def say(title, good, shown=""):
    print(("ok " if good else "not ok ") + title + ("" if good else "\n" + repr(shown)[-3000:]))


for columns in (100, 40):
    code, written, screen = terminal.run(["./x", "train", "--steps", "60", "--out", f"run{columns}"], columns)
    lines = re.findall(r"\r(step [^\x1b]*)\x1b\[K", written)
    say(f"progress on {columns} columns: drawn, never wrapped", code == 0 and lines and max(map(len, lines)) < columns, written)
    left = [row for row in screen.rows if row]  # a sentence may wrap; nothing is to be written over it
    say(f"progress on {columns} columns: the line is gone at the end", left[0].startswith("trained 60 of 60 steps") and not any("left" in r for r in left), screen.rows)
    say(f"progress on {columns} columns: the last step is shown", lines[-1].startswith("step 60/60  loss "[:columns - 1]), lines)

# Resumed at step 89, it goes back behind where this process began.
terminal.run(["./x", "train", "--steps", "89", "--save-every", "10", "--watch", "rollback", "--rollback-lr", "0.1", "--out", "back"], 100)
code, written, screen = terminal.run(["./x", "train", "--steps", "150", "--resume", "--out", "back"], 140)
turn = max(0, written.find("rollback: back to step "))
behind = re.findall(r"\rstep (\d+)/150  loss \S+  grad norm \S+  (\S+) tokens/s  (\S+) left", written[turn:])
say("progress behind a rollback: speed and time are numbers above 0",
    code == 0 and turn and behind and int(behind[0][0]) < 89 and all(re.fullmatch(r"[\d.]+[kMG]?", rate) and re.fullmatch(r"\d+[:h]\d\d", left) for _, rate, left in behind), written)

for columns, language, bar in ((120, "C.UTF-8", "\u2588"), (60, "C", "#")):
    code, written, screen = terminal.run(["./x", "watch", "made/0-0"], columns, LC_ALL=language)
    say(f"watch on {columns} columns: place, bars, alarms, state",
        code == 0 and screen.rows[1].startswith("step 200 of 200 (100 %)") and bar in screen.rows[2] and screen.rows[2].startswith("loss")
        and screen.rows[3].startswith("gradient norm") and any(r.startswith("collapse at ") for r in screen.rows) and [r for r in screen.rows if r][-1] == "done",
        screen.rows)
    say(f"watch on {columns} columns: nothing wraps", not screen.wraps, screen.wraps)
EOF2
# A run that goes on is drawn over itself.
./x train --steps 100000 --lr 1e-4 --out on >log 2>&1 &
job=$!
until [ -s on/metrics.jsonl ]; do sleep 0.05; done
PYTHONPATH="$here" /usr/bin/python3 - <<'EOF2' || true
import terminal

code, written, screen = terminal.run(["timeout", "--foreground", "-s", "INT", "3", "./x", "watch", "on", "--every", "0.2"], 100)
rows = [r for r in screen.rows if r.startswith("step ")]
good = len(rows) == 1 and written.count("step ") >= 4 and " left" in rows[0] and not screen.wraps
print("ok watch draws over what it drew" if good else "not ok watch draws over what it drew\n" + repr(written)[-3000:])
EOF2
kill -INT $job; wait $job
