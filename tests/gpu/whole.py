"""Training runs of whole models on this machine's GPU, from outside: start to the first step, and steps.

usage: whole.py JSON start PROGRAM [BATCH...]           seconds to the first step told, ms a step; default: batch 16
       whole.py JSON rules PROGRAMS RULE... -- BATCH... ms of a whole step a block, by the slope of PROGRAMS/bench-RULE-2
                                                        and -6, the rules in turns, ROUNDS times

Programs are of models/dit.mvs, compiled with --gpu. They train on one random batch, as `train` does by default: what fits is
kept, the rest redone. A run is ended, not saved: a checkpoint of dit400 is 65 GB. Steps are told one late, so the first has
been followed by the start of the second. The files and plans that the machine has in memory and cache are not cleared."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

ROUNDS = 2
SHAPES = {"x0": (128, 16, 16), "x1": (128, 16, 16), "t": (), "context": (64, 1024)}


def write_batch(path, batch):
    """A fixed batch as safetensors."""
    draw = numpy.random.default_rng(0)
    header, parts, at = {}, [], 0
    for name, shape in SHAPES.items():
        values = draw.uniform(0.1, 0.9, batch) if name == "t" else draw.standard_normal((batch, *shape))
        parts.append(values.astype("<f4").tobytes())
        header[name] = {"dtype": "F32", "shape": [batch, *shape], "data_offsets": [at, at + len(parts[-1])]}
        at += len(parts[-1])
    head = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head + b"".join(parts))


def train(program, batch, steps):
    """Seconds to the first step, and the median milliseconds of the later half of `steps`."""
    with tempfile.TemporaryDirectory() as folder:
        fixed, out, log = (os.path.join(folder, name) for name in ("batch.safetensors", "run", "log"))
        metrics = os.path.join(out, "metrics.jsonl")
        write_batch(fixed, batch)
        begin = time.perf_counter()
        run = subprocess.Popen([program, "train", "--device", "cuda", "--fixed-batch", fixed, "--batch", str(batch),
                                "--steps", "100000", "--out", out], stdout=open(log, "w"), stderr=subprocess.STDOUT)
        first, lines = None, []
        while len(lines) < steps and run.poll() is None and time.perf_counter() - begin < 60:
            time.sleep(0.005)
            lines = open(metrics).read().split("\n")[:-1] if os.path.exists(metrics) else []
            if lines and first is None:
                first = time.perf_counter() - begin
        run.kill()
        run.wait()
        if len(lines) < steps:
            sys.exit(f"whole.py: {program}: {len(lines)} steps\n{open(log).read()[-2000:]}")
        return first, 1e3 * statistics.median(json.loads(line)["seconds"] for line in lines[steps // 2:steps])


def start(target, program, batches):
    rows = []
    for batch in batches:
        first, step = train(program, batch, 10)
        rows.append({"batch": batch, "first_step_s": first, "step_ms": step})
        print(f"batch {batch}: the first step is told after {first:.2f} s, then {step:.1f} ms a step", flush=True)
        json.dump(rows, open(target, "w"), indent=1)


def rules(target, programs, names, batches):
    rows = []
    for batch in batches:
        times = {name: [] for name in names}
        for _ in range(ROUNDS):
            for name in names:
                steps = 2560 // batch + 20
                shallow, deep = (train(f"{programs}/bench-{name}-{depth}", batch, steps)[1] for depth in (2, 6))
                times[name].append((deep - shallow) / 4)
        for name in names:
            ratio = statistics.median(a / b for a, b in zip(times[name], times[names[0]]))
            rows.append({"batch": batch, "rule": name, "step_ms": statistics.median(times[name]), "over_first": ratio,
                         "all_step_ms": times[name]})
            print(f"batch {batch}: {name:8} {rows[-1]['step_ms']:.4f} ms a block and whole step, {ratio:.4f} x {names[0]}; "
                  f"{min(times[name]):.4f} to {max(times[name]):.4f}", flush=True)
        json.dump(rows, open(target, "w"), indent=1)


def main():
    target, what, *rest = sys.argv[1:]
    if what == "start":
        start(target, rest[0], [int(b) for b in rest[1:]] or [16])
    else:
        cut = rest.index("--")
        rules(target, rest[0], rest[1:cut], [int(b) for b in rest[cut + 1:]])


main()
