"""Memory that runs out: allocations of whole programs and of the libraries in them fail one by one, each once on its
own and once with all behind it.

  memory.py MVCC MODEL TRAINER FAULT WORK MOST SEED [NAME...]    FAULT: the library of tests/fault; MOST: failures of a
                                                     command; NAME: "eval", "mvcc -o", ... for those sweeps alone

Every program that sees one ends with one sentence that speaks of memory, and with status 1 (or as if nothing had
been): no crash, no hang, nothing left half written. A run of training goes on to the same bits afterwards."""
import collections
import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time

mvcc, model, trainer, fault, work, most, seed = *sys.argv[1:6], int(sys.argv[6]), int(sys.argv[7])
only = sys.argv[8:]
rng = random.Random(seed)
LINE = re.compile(r"\d+ \w+ (exit|signal) (\d+): ?(.*)")
SMALL = ["--set", "depth=2", "--set", "width=32", "--set", "heads=2", "--set", "ffn=48"]
OPTIONS = ["--data", "digits", "--batch", "4", "--save-every", "2", "--keep", "2", "--ema", "0.9", "--diagnose", "2", "--threads", "1"]
HOW = {"once": {}, "from there on": {"FAULT_ON": "1"}}


def path(*names):
    return os.path.join(work, *names)


def content(name):
    with open(name, "rb") as file:
        return file.read()


def text(name):
    with open(name, errors="replace") as file:
        return file.read()


def temporaries(folder):
    return [n for _, _, names in os.walk(folder) for n in names if n.endswith(".tmp")]


def call(command, **environment):
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=900 + most,
                          env={**os.environ, "LD_PRELOAD": fault, "FAULT": "alloc", **environment})


def count_of(command):
    """Allocations of an undisturbed call."""
    log = path("count")
    if os.path.exists(log):
        os.remove(log)
    done = call(command, FAULT_LOG=log)
    if done.returncode != 0:
        sys.exit(f"not ok {command} ends with {done.returncode}: {done.stderr}")
    return int(text(log).split()[-1])


def is_clean(code, words):
    """One sentence; a program that does not see the failure says nothing, or what it always says."""
    return code == 0 or (code == 1 and "memory" in words and words.count("error:") == 1)


def say(wrong, words):
    print((f"not ok {words}; {wrong}" if wrong else f"ok {words}"), flush=True)


def sweep(name, command, output=None, most=most):
    """All in one run that splits in two at each failure: for commands that begin no output before its end."""
    if only and name not in only:
        return
    count = count_of(command)
    for how, environment in HOW.items():
        shutil.rmtree(path("sweep"), ignore_errors=True)
        os.mkdir(path("sweep"))
        before, began = content(output) if output else None, time.monotonic()
        # The start of the program is the same everywhere: a few of it, and by lot from there.
        stride = max(1, count // most)
        done = call(command, FAULT_SWEEP=path("sweep"), FAULT_DENSE="20", FAULT_STRIDE=str(stride), FAULT_SEED=str(seed), **environment)
        ends = [LINE.match(line) for line in text(path("sweep", "log")).splitlines()]
        bad = [end[0] for end in ends if end[1] != "exit" or not is_clean(int(end[2]), end[3])]
        wrong = f"{len(bad)} of them, first {bad[0]}" if bad else f"undisturbed it ended with {done.returncode}: {done.stderr}" if done.returncode else None
        if not wrong and output and (content(output) != before or temporaries(os.path.dirname(output))):
            wrong = "its output is not whole"
        say(wrong, f"{name}, {how}: {len(ends)} of {count} allocations, {time.monotonic() - began:.0f} s")


def write_inputs(file, shapes):
    """What `eval` and `grad` read."""
    header, data = {}, b""
    for name, shape in shapes.items():
        count = math.prod(shape)
        part = struct.pack(f"<{count}i", *range(count)) if name == "label" else struct.pack(f"<{count}f", *[0.5] * count)
        header[name] = {"dtype": "I32" if name == "label" else "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    head = json.dumps(header).encode()
    with open(file, "wb") as to:
        to.write(struct.pack("<Q", len(head)) + head + data)


def train(*more, **environment):
    command = [trainer, "train", *OPTIONS, "--steps", "6", "--out", path("run"), *more]
    return call(command, **environment) if environment else subprocess.run(command, capture_output=True, text=True)


def state():
    names = sorted(n for n in os.listdir(path("run")) if not n.startswith(("events", "report", "metrics")))
    return names, [content(path("run", n)) for n in names], re.sub(rb', "seconds": .*', b"", content(path("run", "metrics.jsonl")))


def anew():
    shutil.rmtree(path("run"), ignore_errors=True)
    shutil.copytree(path("half"), path("run"))


def try_training(at, environment):
    """None, or what is wrong with a resumed run whose allocation `at` failed."""
    anew()
    done = train("--resume", FAULT_AT=str(at), **environment)
    if done.returncode < 0 or not is_clean(done.returncode, done.stderr):
        return f"allocation {at}: it ended with {done.returncode}: {done.stderr}"
    if done.returncode and temporaries(path("run")):
        return f"allocation {at}: it left {temporaries(path('run'))}"
    after = train("--resume")
    return None if after.returncode == 0 and state() == whole else f"allocation {at}: it cannot be gone on with: {after.stderr}"


def sweep_training(skipped):
    """Each failure in a run of its own, since each writes to the folder."""
    anew()
    count = count_of([trainer, "train", *OPTIONS, "--steps", "6", "--out", path("run"), "--resume"])
    for how, environment in HOW.items():
        began, wrong, tried = time.monotonic(), None, 0
        late = range(skipped, count + 1)
        places = sorted(rng.sample(late, min(most // 4, len(late))) + rng.sample(range(1, skipped), 3))
        for at in places:
            tried, wrong = tried + 1, wrong or try_training(at, environment)
            if wrong:
                break
        say(wrong, f"train --resume, {how}: {tried} of {count} allocations, {time.monotonic() - began:.0f} s")


def programs_of(folder):
    """Programs of a comparison that are still there."""
    places = (f"/proc/{number}/exe" for number in os.listdir("/proc") if number.isdigit())
    return [p for p in places if os.path.exists(p) and os.readlink(p).startswith(os.path.abspath(folder) + "/")]


def sweep_comparison():
    """Behind the compiling, which the others have seen: a comparison's own allocations are its last few thousand."""
    command = [mvcc, "compare", model, *SMALL, "--residual", "plain", "--samples", "4", "-o", path("rules")]
    options = ["--", "train", "--steps", "20", "--batch", "4"]
    os.environ["FAULT_PROGRAM"] = "mvcc"
    count, wrong, began, tries = count_of(command + options), None, time.monotonic(), max(2, most // 60)
    for at in sorted(rng.sample(range(count - 4000, count), tries)):
        shutil.rmtree(path("rules"))
        done = call(command + options, FAULT_AT=str(at), FAULT_ON="1")
        end = time.monotonic() + 10
        while programs_of(path("rules")) and time.monotonic() < end:
            time.sleep(0.05)
        after = subprocess.run([*command, "--resume", *options], capture_output=True, text=True)
        if not is_clean(done.returncode, done.stderr):
            wrong = f"allocation {at}: it ended with {done.returncode}: {done.stderr}"
        elif programs_of(path("rules")) or after.returncode != 0 or temporaries(path("rules")):
            wrong = f"allocation {at}: it cannot be gone on with: {after.stderr}"
    say(wrong, f"mvcc compare, from there on: {tries} of {count} allocations, {time.monotonic() - began:.0f} s")


print(f"# seed {seed}")
for folder, steps in (("half", "3"), ("run", "6")):
    subprocess.run([trainer, "train", *OPTIONS, "--steps", steps, "--out", path(folder)], check=True, capture_output=True)
whole = state()
weights = ["--weights", path("half", "latest"), "--threads", "1"]
for name in ("made", "pictures"):
    os.mkdir(path(name))
if not only:
    sweep_training(count_of([trainer, "info"]))
subprocess.run([trainer, "sample", *weights, "--count", "4", "--steps", "2", "--out", path("pictures", "g.png")], check=True, capture_output=True)
sweep("sample", [trainer, "sample", *weights, "--count", "4", "--steps", "2", "--out", path("pictures", "g.png")], path("pictures", "g.png"))
write_inputs(path("inputs"), {"zt": [2, 1, 8, 8], "x0": [2, 1, 8, 8], "x1": [2, 1, 8, 8], "t": [2], "label": [2]})
for name in ("eval", "grad"):
    command = [trainer, name, *weights, "--inputs", path("inputs"), "--out", path("made", name)]
    subprocess.run(command, check=True, capture_output=True)
    sweep(name, command, path("made", name))
# All of them: what reads the archive takes memory a dozen times, and has one word for a lack of it and for damage.
write_inputs(path("small-inputs"), {"z": [2, 4]})
sweep("eval of .pt", [path("small"), "eval", "--weights", path("good.pt"), "--inputs", path("small-inputs"), "--out", path("made", "small"),
                      "--threads", "1"], most=10 ** 9)
sweep("info", [trainer, "info"])
sweep("bench", [trainer, "bench", "--steps", "1", "--batch", "2", "--threads", "1"])
sweep("watch", [trainer, "watch", path("half"), "--once"])
subprocess.run([trainer, "report", path("half"), "--out", path("made", "page.html")], check=True, capture_output=True)
sweep("report", [trainer, "report", path("half"), "--out", path("made", "page.html")], path("made", "page.html"))
subprocess.run([mvcc, model, *SMALL, "-o", path("made", "y")], check=True, capture_output=True)
sweep("mvcc -o", [mvcc, model, *SMALL, "-o", path("made", "y")], path("made", "y"))
sweep("mvcc --emit plan", [mvcc, model, *SMALL, "--emit", "plan"])
if not only:
    sweep_comparison()
