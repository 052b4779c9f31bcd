"""A failing disk: every call of a kind that a resumed run makes fails once, with one error, or all from it on.

  disk.py TRAINER FAULT WORK MOST SEED    FAULT: the library of tests/fault; MOST: failures tried of one kind

Each time: the run ends with one sentence and status 1, or as if nothing had been (where the call did not matter);
the next start goes on from what is there and ends with the bits of a run that nothing happened to."""
import os
import random
import re
import shutil
import subprocess
import sys

trainer, fault, work, most, seed = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
rng = random.Random(seed)
NOSPC, IO, INTR, MFILE, NOLCK, NOMEM = 28, 5, 4, 24, 37, 12
# Without these the files would not be what the run says they are.
MUST_STOP = ("write", "fsync", "rename", "ftruncate", "mkdir", "mmap", "mprotect")
# calls, error, more of the environment
KINDS = [
    ("write", NOSPC, {}), ("write", NOSPC, {"FAULT_ON": "1"}), ("write", NOSPC, {"FAULT_ON": "1", "FAULT_SHORT": "1"}),
    ("write", INTR, {}), ("write", IO, {}), ("fsync", IO, {}), ("fsync", NOSPC, {"FAULT_ON": "1"}), ("fsync", INTR, {}),
    ("rename", NOSPC, {}), ("ftruncate", IO, {}), ("mkdir", NOSPC, {}), ("unlink", IO, {}), ("unlinkat", IO, {}), ("flock", NOLCK, {}),
    ("flock", INTR, {}), ("close", IO, {}), ("open,openat,fopen,opendir", MFILE, {}), ("open,openat,fopen,opendir", MFILE, {"FAULT_ON": "1"}),
    ("open,openat,fopen,opendir", IO, {}), ("readdir", IO, {}), ("read,pread", IO, {}), ("read,pread", INTR, {}), ("mmap", NOMEM, {}),
    ("mprotect", NOMEM, {}),
]
OPTIONS = ["--data", "digits", "--batch", "4", "--save-every", "3", "--keep", "2", "--ema", "0.9", "--diagnose", "2", "--threads", "1",
           "--sample-every", "4", "--sample-count", "2"]


def path(*names):
    return os.path.join(work, *names)


def content(name):
    with open(name, "rb") as file:
        return file.read()


def train(folder, steps, *more, **environment):
    return subprocess.run([trainer, "train", *OPTIONS, "--steps", str(steps), "--out", path(folder), *more], capture_output=True,
                          text=True, env={**os.environ, **environment}, timeout=120)


def state(folder):
    """All that must be the same."""
    names = sorted(n for n in os.listdir(path(folder)) if not n.startswith(("events", "report", "metrics")))
    lines = [re.sub(rb', "seconds": .*', b"", line) for line in content(path(folder, "metrics.jsonl")).split(b"\n")]
    return names, [content(path(folder, n)) for n in names], lines


def same(folder):
    return state(folder) == state("whole")


def same_but_for_old_ones():
    """Checkpoints that could not be removed, or found to be removed, go with the next start."""
    (names, files, lines), (wanted, contents, other) = state("part"), state("whole")
    left = [(n, f) for n, f in zip(names, files) if n in wanted or not n.startswith("step-")]
    return left == list(zip(wanted, contents)) and lines == other


def judge(run, kind, error):
    """None, or what is wrong with how a run ended that saw the failure."""
    sentences = [line for line in run.stderr.split("\n") if "error:" in line]
    if run.returncode == 0 and kind in MUST_STOP and error != INTR:
        return "went on as if nothing had been"
    if run.returncode == 0:
        return None if same_but_for_old_ones() else "went on and ended otherwise"
    if run.returncode != 1:
        return f"ended with {run.returncode}"
    if len(sentences) != 1:
        return f"said {len(sentences)} sentences"
    left = [n for n in os.listdir(path("part")) if n.endswith(".tmp")]
    return f"left {left}" if left and "unlink" not in kind else None


def try_one(start, calls, error, more, at):
    """Whether the call was reached, and what is wrong."""
    shutil.rmtree(path("part"), ignore_errors=True)
    if os.path.exists(path("log")):
        os.remove(path("log"))
    resume = []
    if start:
        shutil.copytree(path(start), path("part"))
        resume = ["--resume"]
    run = train("part", 12, *resume, LD_PRELOAD=fault, FAULT=calls, FAULT_AT=str(at), FAULT_ERRNO=str(error), FAULT_LOG=path("log"), **more)
    hit = os.path.exists(path("log")) and b"hit" in content(path("log"))
    if not hit:
        return False, run.returncode, None if run.returncode == 0 else f"ended with {run.returncode}: {run.stderr}"
    if not os.path.isdir(path("part")):
        os.mkdir(path("part"))
    wrong = judge(run, calls, error)
    resume = ["--resume"] if os.path.exists(path("part", "run.json")) else []
    after = train("part", 12, *resume)
    if not wrong and (after.returncode != 0 or not same("part")):
        wrong = f"cannot be gone on with: {after.stderr}"
    return True, run.returncode, f"{wrong}; {run.stderr.strip()}" if wrong else None


def sweep(start, calls, error, more):
    """Every call, or MOST of them by lot once there are more."""
    tried, stopped, at = 0, 0, 0
    count = train_count(start, calls)
    places = range(1, count + 1) if count <= most else sorted(rng.sample(range(1, count + 1), most))
    for at in places:
        hit, code, wrong = try_one(start, calls, error, more, at)
        tried, stopped = tried + hit, stopped + (code != 0)
        if wrong:
            return tried, stopped, f"call {at}: {wrong}"
    return tried, stopped, None


def train_count(start, calls):
    """How many calls there are when none fails."""
    shutil.rmtree(path("part"), ignore_errors=True)
    if os.path.exists(path("log")):
        os.remove(path("log"))
    if start:
        shutil.copytree(path(start), path("part"))
    run = train("part", 12, *(["--resume"] if start else []), LD_PRELOAD=fault, FAULT=calls, FAULT_LOG=path("log"))
    if run.returncode != 0:
        sys.exit(f"not ok a run with calls counted: {run.stderr}")
    return int(content(path("log")).split()[-1])


print(f"# seed {seed}")
for folder, steps in (("whole", 12), ("half", 6)):
    if train(folder, steps).returncode != 0:
        sys.exit(f"not ok {folder}")
for start in ("half", None):
    for calls, error, more in KINDS:
        tried, stopped, wrong = sweep(start, calls, error, more)
        how = f"{calls.split(',')[0]}: {os.strerror(error)}" + (", again and again" if more else "") + (", half written" if len(more) > 1 else "")
        words = f"{how}, {'resumed' if start else 'from the start'}: {tried} times, {stopped} stopped the run"
        print(f"not ok {words}; {wrong}" if wrong else f"ok {words}", flush=True)
