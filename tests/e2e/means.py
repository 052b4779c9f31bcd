"""How much of a mean stays in a centred signal, and how far a mean that should stand still drifts:
means.py FOLDER, with programs made by means.sh. The bounds of the first come from the arithmetic in
arXiv 2605.06169's setting, computed here in float64 from the same rounded operands."""
import subprocess
import sys

import numpy as np
from tensors import load, save

folder = sys.argv[1]
random = np.random.default_rng(5)
TOKENS, WIDTH, OUT, BATCH, DEPTH = 256, 64, 48, 3, 32


def report(name, good, what):
    """Prints one test line."""
    print(f"{'ok' if good else 'not ok'} {name}: {what}")


def bf16(x):
    """x rounded to bf16, ties to even, as float64."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)


def run(program, weights, y, output):
    """The program's output for inputs y."""
    save(f"{folder}/weights.safetensors", weights)
    save(f"{folder}/inputs.safetensors", {"y": y})
    subprocess.run([f"{folder}/{program}", "eval", "--device", "cpu", "--weights", f"{folder}/weights.safetensors",
                    "--inputs", f"{folder}/inputs.safetensors", "--out", f"{folder}/out.safetensors"],
                   check=True, stdout=subprocess.DEVNULL)
    return load(f"{folder}/out.safetensors")[0][output].astype(np.float64)


def nearly_equal(ratio):
    """Tokens whose part beside their mean is `ratio` of it."""
    mean = random.standard_normal((BATCH, 1, WIDTH))
    return (mean + ratio * random.standard_normal((BATCH, TOKENS, WIDTH))).astype(np.float32)


def leak(centred, signal):
    """What is left of a mean in a centred tensor, over the centred signal itself."""
    return np.linalg.norm(centred.mean(1)) * np.sqrt(TOKENS) / np.linalg.norm(signal)


weight = (random.standard_normal((OUT, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
for ratio in (1e-2, 1e-3):
    y = nearly_equal(ratio)
    rounded = bf16(y)
    exact = rounded @ bf16(weight).T
    signal = exact - exact.mean(1, keepdims=True)
    stored = bf16(exact)  # the branch as it lies in memory
    kept = leak(stored - exact.mean(1, keepdims=True), signal)
    coarse = leak(stored - (bf16(rounded.mean(1, keepdims=True)) @ bf16(weight).T), signal)
    found = {means: leak(run(f"centred-{means}", {"writer.weight": weight}, y, "centred"), signal)
             for means in ("exact", "writer")}
    # f32 sums of 256 numbers err by some 1e-6 of the mean, which is 1e-3 of the signal at 1e-3.
    report(f"centred/mean {ratio:g}, exact: nothing of the mean stays", found["exact"] < 2e-6 / ratio,
           f"{found['exact']:.1e} of the signal")
    # The rounding of f is what leaks; the mean itself adds nothing to it (a rounded one would).
    report(f"centred/mean {ratio:g}, writer: what stays is the branch's own rounding",
           abs(found["writer"] / kept - 1) < 0.05 and found["writer"] < 0.8 * coarse,
           f"{found['writer']:.1%} of the signal; rounding alone {kept:.1%}, with a bf16 mean {coarse:.1%}")

y = nearly_equal(0.1)
weights = {"blocks.%d.writer.weight" % l: (0.3 * random.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
           for l in range(DEPTH)}
weights.update({"blocks.%d.merge1.beta" % l: np.ones(WIDTH, np.float32) for l in range(DEPTH)})
x = bf16(y)
start = x.mean(1)
# Arithmetic in float64, stream and branch alone rounded: bf16's own drift. Both lie on a grid, so the mean
# that is taken away shifts all tokens alike, and their roundings do not average out.
for l in range(DEPTH):
    f = bf16(x @ bf16(weights["blocks.%d.writer.weight" % l]).T)
    x = bf16(x + f - f.mean(1, keepdims=True))
own = np.linalg.norm(x.mean(1) - start) / np.linalg.norm(start)
for means in ("exact", "writer"):
    drift = np.linalg.norm(run(f"drift-{means}", weights, y, "last").mean(1) - start) / np.linalg.norm(start)
    report(f"{DEPTH} merges with alpha = 0, {means}: the mean drifts as rounding alone makes it drift",
           drift < 1.5 * own, f"{drift:.1e} of it, bf16's own {own:.1e}")
