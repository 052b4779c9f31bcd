#!/usr/bin/env python3
"""Scores the warnings of the watch over finished runs: score.py REPLAY [option...] DIR...

REPLAY is build/tests/watch_replay. A DIR holds metrics.jsonl and perhaps diagnostics.jsonl; a FILE
may stand for one, with both in its lines. Printed are, for each run and for all: when it fell, how
many observations later that was called, how many before it the first warning came (the lead), and
false warnings per 1,000 observations.

Whether and when a run fell is judged in hindsight, by the loss alone and not by the watch: it ends
higher above its best level than noise explains, and fell when the loss was for the last time below
the middle between the two. A warning at most HORIZON observations before that is a lead, any other
one is false; observations behind the fall and within the horizon are not counted."""
import argparse
import json
import os
import statistics
import subprocess

HORIZON = 100  # observations: less than the window that a warning is relative to
LEVEL = 21     # a level of the loss is the median of so many
LAST = 30      # and that at the end of so many


def read_losses(paths):
    losses = {}
    for path in paths:
        with open(path) as file:
            for line in file:
                row = json.loads(line)
                if row.get("loss") is not None:
                    losses[row["step"]] = row["loss"]
    steps = sorted(losses)
    return steps, [losses[step] for step in steps]


def trailing_medians(values, count):
    return [statistics.median(values[max(0, at - count + 1):at + 1]) for at in range(len(values))]


def find_fall(losses):
    """The observation at which the run fell, or None."""
    if len(losses) < LEVEL + LAST:
        return None
    levels = trailing_medians(losses, LEVEL)[LEVEL - 1:]
    best = min(levels)
    around = losses[max(0, levels.index(best) - 10):levels.index(best) + LEVEL + 10]
    middle = statistics.median(around)
    noise = 1.4826 * statistics.median(abs(loss - middle) for loss in around)
    end = statistics.median(losses[-LAST:])
    if end < best + 3 * noise:
        return None
    half = (best + end) / 2
    return max(at for at, loss in enumerate(trailing_medians(losses, 5)) if loss < half) + 1


def files_of(run):
    if not os.path.isdir(run):
        return [run]
    names = ("metrics.jsonl", "diagnostics.jsonl")
    return [os.path.join(run, name) for name in names if os.path.exists(os.path.join(run, name))]


def score(run, options):
    paths = files_of(run)
    steps, losses = read_losses(paths)
    said = subprocess.run([options.replay, options.writers, options.readers] + paths, check=True,
                          capture_output=True, text=True).stdout
    alarms = [json.loads(line) for line in said.splitlines()]
    place = {step: at for at, step in enumerate(steps)}
    warned = [place[a["step"]] for a in alarms if a["level"] == "warning"]
    called = [place[a["step"]] for a in alarms if a["level"] == "collapse"]
    fall = find_fall(losses)
    end = len(losses) if fall is None else max(0, fall - HORIZON)
    leads = [] if fall is None else [fall - at for at in warned if fall - HORIZON < at < fall]
    return {"run": run, "count": len(losses), "fell": None if fall is None else steps[fall],
            "lead": max(leads, default=0), "false": sum(at < end for at in warned),
            "healthy": end, "called": None if fall is None or not called else called[0] - fall,
            "wrong": len(called) if fall is None else sum(at < end for at in called)}


def text(value):
    return "-" if value is None else str(value)


def show(row):
    print("%-44s %7d %8s %8s %6s %7d %8d" %
          (row["run"][-44:], row["count"], text(row["fell"]), text(row["called"]),
           text(row["lead"] if row["fell"] is not None else None), row["false"], row["wrong"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writers", default="blocks.operator.proj,blocks.ffn.w2")
    parser.add_argument("--readers", default="blocks.operator.q_proj,blocks.operator.k_proj")
    parser.add_argument("replay")
    parser.add_argument("runs", nargs="+")
    options = parser.parse_args()
    print("%-44s %7s %8s %8s %6s %7s %8s" % ("run", "seen", "fell at", "called +", "lead",
                                             "false", "wrong"))
    rows = [score(run, options) for run in options.runs]
    for row in rows:
        show(row)
    fallen = [row for row in rows if row["fell"] is not None]
    healthy = sum(row["healthy"] for row in rows)
    false = sum(row["false"] for row in rows)
    print("%d runs, %d fell, %d of them called, %d warned of before; median lead %s" %
          (len(rows), len(fallen), sum(row["called"] is not None for row in fallen),
           sum(row["lead"] > 0 for row in fallen),
           text(statistics.median(row["lead"] for row in fallen) if fallen else None)))
    print("false warnings: %d in %d observations, %.2f per 1,000; collapses called wrongly: %d" %
          (false, healthy, 1000 * false / max(1, healthy), sum(row["wrong"] for row in rows)))


if __name__ == "__main__":
    main()
