"""Judges sampled digits: digits_quality.py SAMPLES. Sample i has the label i mod 10.

Three figures against the 1,797 real digits, in their own units (0..16 a pixel): the share of samples whose
nearest real digit has the label they were asked for; the within-class spread (norm of the per-pixel
standard deviation) over the real one; the median distance to the nearest real digit over the real
leave-one-out median. The second and third catch a model that copies or blurs."""
import gzip
import pathlib
import sys

import numpy as np

from tensors import load

root = pathlib.Path(__file__).resolve().parents[2]
with gzip.open(root / "runtime/data/digits.csv.gz", "rt") as file:
    rows = np.loadtxt(file, delimiter=",")
real, labels = rows[:, :64], rows[:, 64].astype(int)
drawn = load(sys.argv[1])[0]["sample"].reshape(-1, 64).astype(float)
drawn = (np.clip(drawn, -1, 1) + 1) * 8
asked = np.arange(len(drawn)) % 10


def distances(a, b):
    """Pairwise Euclidean distances."""
    return np.sqrt(np.maximum((a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T, 0))


def spread(x, y):
    """Mean over classes of the norm of the per-pixel standard deviation."""
    return np.mean([np.linalg.norm(x[y == digit].std(0)) for digit in range(10)])


to_real = distances(drawn, real)
among_real = distances(real, real)
np.fill_diagonal(among_real, np.inf)
right = np.mean(labels[to_real.argmin(1)] == asked)
width = spread(drawn, asked) / spread(real, labels)
near = np.median(to_real.min(1)) / np.median(among_real.min(1))


def report(name, value, low, high):
    """Prints one test line."""
    print(f"{'ok' if low <= value <= high else 'not ok'} {name}: {value:.3f} (wanted {low} to {high})")


print(f"# {len(drawn)} samples")
report("share with the right nearest label", right, 0.95, 1.0)
report("within-class spread over the real one", width, 0.8, 1.2)
report("median distance over the real one", near, 1.0, 1.5)
