"""Sudden death of what writes one file, and of comparisons.

  death_outputs.py file FILE KILLS SEED COMMAND...   COMMAND writes FILE. Killed at any time it leaves what stood
                                                     there before or the whole new one, and nothing once it has ended
  death_outputs.py compare WORK KILLS SEED COMMAND... COMMAND is a `mvcc compare` without -o. Killed and resumed it
                                                     ends with the runs of an undisturbed one"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

TEMPORARY = re.compile(r"\..+\.\d+\.tmp$")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def temporaries(folder):
    return [os.path.join(f, n) for f, _, names in os.walk(folder) for n in names if TEMPORARY.match(n)]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"not ok {command} ends with {done.returncode}: {done.stderr}")


def kill_at(command, moment):
    """Whether the command was still there then."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def say(good, words):
    print(("ok " if good else "not ok ") + words)


def kill_writer(path, kills, command):
    folder = os.path.dirname(path)
    began = time.monotonic()
    run(command)
    took, whole, old = time.monotonic() - began, content(path), b"what stood here before"
    counts, good = {"nothing": 0, "a temporary file": 0, "the whole file": 0}, True
    for _ in range(kills):
        with open(path, "wb") as file:
            file.write(old)
        kill_at(command, rng.uniform(0, 1.1 * took))
        now, left = content(path), temporaries(folder)
        good = good and now in (old, whole)
        counts["the whole file" if now == whole else "a temporary file" if left else "nothing"] += 1
    run(command)
    name = os.path.basename(path)
    say(good, f"{kills} kills left {name} as it was or whole: " + ", ".join(f"{n} left {what}" for what, n in counts.items()))
    say(content(path) == whole and not temporaries(folder), f"and the next call nothing else than {name}")


def runs_of(folder):
    """What a comparison found, but for times and what the machine was."""
    rules = json.load(open(os.path.join(folder, "compare.json")))["rules"]
    runs = [{key: value for key, value in one.items() if key not in ("folder", "seconds_per_step")} for rule in rules for one in rule["runs"]]
    made = {os.path.relpath(f, folder): sorted(n for n in names if n.startswith(("step-", "samples"))) for f, _, names in os.walk(folder)}
    return runs, made, [content(os.path.join(folder, place, n)) for place, names in sorted(made.items()) for n in names]


def alive(folder):
    """Programs of this comparison that are still there."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{number}/exe").startswith(os.path.abspath(folder) + "/"):
                found.append(number)
        except OSError:
            pass
    return found


def kill_comparison(work, kills, command):
    whole, part = os.path.join(work, "whole"), os.path.join(work, "part")
    began = time.monotonic()
    cut = command.index("--")
    run([*command[:cut], "-o", whole, *command[cut:]])
    took, killed, orphans = time.monotonic() - began, 0, 0
    for at in range(kills):
        resume = ["--resume"] if os.path.isdir(part) else []
        killed += kill_at([*command[:cut], "-o", part, *resume, *command[cut:]], rng.uniform(0, took))
        end = time.monotonic() + 10
        while alive(part) and time.monotonic() < end:
            time.sleep(0.01)
        orphans += len(alive(part))
    resume = ["--resume"] if os.path.isdir(part) else []
    run([*command[:cut], "-o", part, *resume, *command[cut:]])
    say(orphans == 0, "a comparison that is killed leaves no run behind")
    say(runs_of(whole) == runs_of(part), f"{killed} kills, and it ends with the runs of an undisturbed one")
    say(not temporaries(part), "and with no temporary file")


what, path, kills, rng = sys.argv[1], sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))
print(f"# seed {sys.argv[4]}")
(kill_writer if what == "file" else kill_comparison)(path, kills, sys.argv[5:])
