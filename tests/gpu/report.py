"""docs/results/GPU.json from what the GPU tests left in a folder.

usage: report.py PROGRAMS RESULTS [JSON]     JSON defaults to standard output

RESULTS holds tests.log (tests/gpu/run.sh), and of tests/gpu/figures.sh mvsplit/block.json with `bench --json` files beside
it, peers.json, released.json, rules.json and dit400.json; what is missing is left out. PROGRAMS/hash is of the emitted programs that ran."""
import json
import os
import re
import subprocess
import sys


def read(*path):
    """A file's JSON, or None where there is no such file."""
    path = os.path.join(*path)
    return json.load(open(path)) if os.path.exists(path) else None


def gpu_facts():
    """What the driver says of the first GPU."""
    fields = ("name", "driver_version", "memory.total", "power.limit")
    done = subprocess.run(["nvidia-smi", "--query-gpu=" + ",".join(fields), "--format=csv,noheader", "--id=0"],
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit("report.py: nvidia-smi: " + (done.stderr or done.stdout).strip())
    return dict(zip(("gpu", "driver", "memory", "power_limit"), (v.strip() for v in done.stdout.split(","))))


def rounded(value):
    """Six digits say all that a measurement knows."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main():
    programs, results = sys.argv[1:3]
    out = gpu_facts()
    out["hash"] = open(os.path.join(programs, "hash")).read().strip()
    log = os.path.join(results, "tests.log")
    if os.path.exists(log):
        text = open(log).read()
        out["tests"] = {"passed": len(re.findall(r"^ok ", text, re.M)), "failed": len(re.findall(r"^not ok ", text, re.M)),
                        "rows_of_ops": len(re.findall(r"^ok \S+\.ops ", text, re.M))}
    libraries = set()
    rows = read(results, "mvsplit", "block.json")
    if rows:
        out["block"] = rows
    for name in ("train-128", "train-16", "sample"):
        deep = read(results, "mvsplit", name + "-deep.json")
        if not deep:
            continue
        libraries |= {k["how"] for k in deep["kernels"] if not k["how"].startswith("generated")}
        whole = {k: v for k, v in deep.items() if k.endswith("_ms") or k.endswith("_bytes") or k == "blocks"}
        out.setdefault("bench", {})[name] = whole | {"kernels": [
            {k: r[k] for k in ("kind", "what", "how", "launches", "ms", "bytes", "flops", "limit_ms")}
            for r in deep["kernels"] if r["ms"] >= 0.002 * deep["step_kernels_ms"]]}
    out["libraries"] = sorted(libraries)
    for name in ("peers", "released", "rules", "dit400"):
        found = read(results, name + ".json")
        if found:
            out[name] = found
    target = open(sys.argv[3], "w") if len(sys.argv) > 3 else sys.stdout
    json.dump(rounded(out), target, indent=1)
    target.write("\n")


main()
