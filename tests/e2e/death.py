"""Sudden death: a trainer is killed again and again, each time resumed, until it is through; then the next run
begins. After every kill all that the folder holds is compared with an uninterrupted run's.

  death.py TRAINER WORK KILLS SEED OPTIONS...    OPTIONS: of `train`, without --out and --keep; WORK is a folder

Half of the kills fall at a random time, half a moment after a checkpoint's temporary file was seen, so that
many fall into the writing of one. Prints ok / not ok lines."""
import glob
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

trainer, work, kills, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
options = sys.argv[5:]
rolls_back = "rollback" in options
rng = random.Random(seed)
# Uninterrupted with all its checkpoints, and as the killed one is.
whole, kept, part = (os.path.join(work, name) for name in ("whole", "kept", "part"))
STEP = re.compile(r"step-(\d+)\.safetensors$")
TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp$")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def whole_lines(folder, name):
    """The lines that have an end; of metrics without the time that a step took."""
    path = os.path.join(folder, name)
    lines = content(path).split(b"\n")[:-1] if os.path.exists(path) else []
    return [re.sub(rb', "seconds": .*', b"", line) for line in lines]


def steps_of(folder):
    return sorted(int(m[1]) for m in map(STEP.search, os.listdir(folder)) if m)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def event_of(data):
    """(step, whether it takes steps back, whether it has values) of an Event message."""
    at, fields = 0, {2: 0}
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            fields[key >> 3], at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            fields[key >> 3], at = data[at:at + size], at + size
        else:
            at += 8 if key & 7 == 1 else 4
    return fields[2], 7 in fields, 5 in fields


def board_steps(folder):
    """What TensorBoard shows: files in the order of their names, each up to where it was cut short."""
    steps = []
    for path in sorted(glob.glob(os.path.join(folder, "events.out.tfevents.*"))):
        data, at = content(path), 0
        while at + 12 <= len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            if at + 16 + size > len(data):
                break
            step, back, values = event_of(data[at + 12:at + 12 + size])
            if back:
                steps = [s for s in steps if s < step]
            if values:
                steps.append(step)
            at += 16 + size
    return steps


def command(folder, resume, keep=3):
    """A resumed run is told nothing: it takes up what it was started with."""
    given = ["--resume"] if resume else [*options, "--keep", str(keep)]
    return [trainer, "train", "--out", folder, *given]


wrong = []


def check(good, words):
    if not good:
        wrong.append(words)
        print("#", words, flush=True)


def is_start_of(name):
    mine, other = whole_lines(part, name), whole_lines(whole, name)
    return mine == other[:len(mine)]


seen = set()


def look(when):
    """All that must hold at any moment."""
    if not os.path.isdir(part):
        return
    steps = steps_of(part)
    for step in [] if rolls_back else steps:
        path = os.path.join(part, f"step-{step}.safetensors")
        mark = (os.stat(path).st_ino, os.stat(path).st_mtime_ns)
        if mark not in seen:
            check(content(path) == content(os.path.join(whole, f"step-{step}.safetensors")), f"{when}: step {step} differs")
        seen.add(mark)
    for name in [] if rolls_back else ["metrics.jsonl", "diagnostics.jsonl", "alarms.jsonl"]:
        check(is_start_of(name), f"{when}: {name} is not the start of the uninterrupted one")
    if os.path.exists(os.path.join(part, "run.json")):
        json.load(open(os.path.join(part, "run.json")))
    if os.path.exists(os.path.join(part, "report.html")):
        check(content(os.path.join(part, "report.html")).rstrip().endswith(b"</html>"), f"{when}: half a page")
    if steps:
        done = subprocess.run([trainer, "sample", "--weights", part + "/latest", "--count", "1", "--steps", "1", "--threads", "1",
                               "--out", os.path.join(work, "s.safetensors")], capture_output=True, text=True)
        check(done.returncode == 0, f"{when}: the newest checkpoint does not load: {done.stderr}")


def same_end():
    """The run is through: nothing tells it from the uninterrupted one."""
    check(steps_of(part) == steps_of(kept), f"other checkpoints: {steps_of(part)}")
    for step in steps_of(part):
        name = f"step-{step}.safetensors"
        check(content(os.path.join(part, name)) == content(os.path.join(kept, name)), f"{name} differs at the end")
    for name in ("metrics.jsonl", "diagnostics.jsonl", "alarms.jsonl"):
        check(whole_lines(part, name) == whole_lines(kept, name), f"{name} differs at the end")
    mine, other = ({n: content(os.path.join(folder, n)) for n in os.listdir(folder) if n.startswith("samples-")} for folder in (part, kept))
    check(mine and mine == other, f"other grids at the end: {sorted(mine)}, {sorted(other)}")
    mine, other = (json.load(open(os.path.join(folder, "run.json"))) for folder in (part, kept))
    check(mine == other, "run.json differs at the end")
    check(board_steps(part) == board_steps(kept), f"TensorBoard's steps differ: {board_steps(part)}")
    left = [name for name in os.listdir(part) if TEMPORARY.match(name)]
    check(not left, f"left behind: {left}")


def where(before):
    """Where the kill fell, from what it left."""
    if not os.path.isdir(part) or not os.path.exists(os.path.join(part, "run.json")):
        return "before there was a run"
    left = [m[1] for m in map(TEMPORARY.match, os.listdir(part)) if m]
    if any(name.startswith("step-") for name in left):
        return "in writing a checkpoint"
    if left:
        return "in writing another file"
    return "in the start" if whole_lines(part, "metrics.jsonl") == before else "between steps or in one"


def kill_once():
    """Starts the trainer and kills it; False when it was faster."""
    before = whole_lines(part, "metrics.jsonl")
    process = subprocess.Popen(command(part, os.path.exists(os.path.join(part, "run.json"))), stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    old = set(os.listdir(part)) if os.path.isdir(part) else set()
    end = time.monotonic() + rng.uniform(0, span)
    if rng.random() < 0.5:
        wait = rng.uniform(0, 0.01)
        while process.poll() is None and time.monotonic() < end + span:
            names = os.listdir(part) if os.path.isdir(part) else []
            if any(n.startswith(".step-") and n not in old for n in names):
                break
        end = time.monotonic() + wait
    while process.poll() is None and time.monotonic() < end:
        time.sleep(max(0, min(0.002, end - time.monotonic())))
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    said = process.communicate()[1]
    if process.returncode == -signal.SIGKILL:
        place = where(before)
        places[place] = places.get(place, 0) + 1
        return True
    check(process.returncode == 0, f"a start ended with {process.returncode}: {said}")
    return False


print(f"# seed {seed}")
began = time.monotonic()
subprocess.run(command(whole, False, 100000), check=True, capture_output=True)
span = (time.monotonic() - began) / 4
subprocess.run(command(kept, False), check=True, capture_output=True)
places, through, killed = {}, 0, 0
while killed < kills and not wrong:
    if kill_once():
        killed += 1
        look(f"kill {killed}")
    else:
        through += 1
        same_end()
        if not wrong:
            subprocess.run(["rm", "-rf", part], check=True)
if os.path.isdir(part) and not wrong:
    done = subprocess.run(command(part, os.path.exists(os.path.join(part, "run.json"))), capture_output=True, text=True)
    check(done.returncode == 0, f"the last start ended with {done.returncode}: {done.stderr}")
    through += 1
    same_end()
print("#", ", ".join(f"{count} {place}" for place, count in sorted(places.items())))
print(f"{'not ok' if wrong else 'ok'} {killed} kills, {through} runs brought to their end, bit for bit ({time.monotonic() - began:.0f} s)")
