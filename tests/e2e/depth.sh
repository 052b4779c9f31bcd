#!/bin/sh
# Depth is a region: compile time, memory and program size do not grow with it, and very deep narrow
# models train. Times are medians of nine.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
/usr/bin/python3 - "$MVCC" "$root/models/dit.mvs" "$work" <<'EOF'
import os, resource, statistics, subprocess, sys, time
mvcc, model, work = sys.argv[1:]
times, sizes = {4: [], 1000: []}, {}
for _ in range(9):
    for depth in times:
        start = time.perf_counter()
        subprocess.run([mvcc, model, "--set", f"depth={depth}", "-o", f"{work}/x{depth}"], check=True)
        times[depth].append(time.perf_counter() - start)
        sizes[depth] = os.path.getsize(f"{work}/x{depth}")
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
shallow, deep = (statistics.median(times[d]) for d in (4, 1000))
def report(name, value, bound):
    print(f"{'ok' if value <= bound else 'not ok'} {name}: {value:.2f} (at most {bound})")
report("compile time of depth 1000 over depth 4", deep / shallow, 1.1)
report("seconds to compile depth 1000", deep, 5)
report("megabytes to compile depth 1000", peak, 500)
report("program size of depth 1000 over depth 4", sizes[1000] / sizes[4], 1.001)
EOF
/usr/bin/python3 - "$MVCC" "$root/models/dit.mvs" "$work" <<'EOF'
# Rules that read all earlier blocks: a history has as many rows as there are blocks, and groups stay eight.
import statistics, subprocess, sys, time
mvcc, model, work = sys.argv[1:]
for rule in ("attnres", "denseformer_full"):
    times = {40: [], 400: []}
    for _ in range(5):
        for depth in times:
            start = time.perf_counter()
            subprocess.run([mvcc, model, "--set", f"depth={depth}", "--residual", rule, "-o", f"{work}/y"], check=True)
            times[depth].append(time.perf_counter() - start)
    ratio = statistics.median(times[400]) / statistics.median(times[40])
    print(f"{'ok' if ratio <= 1.15 else 'not ok'} compile time of {rule} at depth 400 over depth 40: {ratio:.2f} (at most 1.15)")
EOF
for depth in 400 1000; do
  "$MVCC" "$root/models/digits.mvs" --set depth=$depth --set width=32 --set heads=2 --set ffn=64 -o "$work/deep"
  "$work/deep" train --data digits --batch 4 --steps 3 --recompute block --out "$work/run$depth" 2>"$work/log" || cat "$work/log"
  /usr/bin/python3 -c "
import json, math
rows = [json.loads(line) for line in open('$work/run$depth/metrics.jsonl')]
good = len(rows) == 3 and all(math.isfinite(r['loss']) and math.isfinite(r['grad_norm']) for r in rows)
print('ok' if good else 'not ok', '$depth layers train:', [r['loss'] for r in rows])"
done
for pair in dit400:5,454,496,896 dit1000:13,635,847,296; do
  "$MVCC" "$root/models/${pair%%:*}.mvs" -o "$work/full"
  "$work/full" info >"$work/info"
  grep -q "${pair#*:}" "$work/info" && echo "ok ${pair%%:*} has ${pair#*:} parameters" || { echo "not ok ${pair%%:*} parameters"; cat "$work/info"; }
done
