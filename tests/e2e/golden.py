"""Compares a trainer's outputs with a golden file: golden.py GOLDEN DIR NAME [bf16].

DIR holds velocity.safetensors, grad.safetensors, run/metrics.jsonl and sample.safetensors. The
tolerances are those of a float32 implementation against float64 goldens: about ten times what
PyTorch's float32 reaches on the same files (3e-7, 5e-7, 1e-7, 8e-7, 2e-6). Those for bf16 are about
three times what the host's kernels reach (7e-3, 1.1e-2, 1e-4, 6e-4, 1.3e-3, 5.5e-3): operands and the
stream are rounded to 8 bits, each by up to 2e-3."""
import json
import math
import sys

from tensors import distance, load

golden, metadata = load(sys.argv[1])
record = json.loads(metadata["golden"])
directory, title = sys.argv[2], sys.argv[3]
failed = False
narrow = len(sys.argv) > 4 and sys.argv[4] == "bf16"


def report(name, error, bound, bf16_bound=0.0):
    """Prints one test line."""
    global failed
    bound = bf16_bound if narrow else bound
    good = error <= bound and not math.isnan(error)
    failed = failed or not good
    print(f"{'ok' if good else 'not ok'} {title} {name}: {error:.2e} (bound {bound:.0e})")


velocity = load(f"{directory}/velocity.safetensors")[0]["velocity"]
report("velocity", distance(velocity, golden["out/velocity"]), 3e-6, 2e-2)

grads = load(f"{directory}/grad.safetensors")[0]
worst = 0.0
for name, wanted in golden.items():
    if name.startswith("g/"):
        worst = max(worst, distance(grads[name], wanted) if name in grads else math.inf)
report("worst gradient", worst, 1e-5, 3e-2)
extra = [n for n in grads if n.startswith("g/") and n not in golden]
report("gradients of unknown names", float(len(extra)), 0)
report("loss", abs(float(grads["loss"].ravel()[0]) / record["loss"] - 1), 1e-6, 5e-4)
report("gradient norm", abs(float(grads["grad_norm"].ravel()[0]) / record["grad_norm"] - 1), 1e-5, 3e-3)

rows = [json.loads(line) for line in open(f"{directory}/run/metrics.jsonl")]
wanted = record["trajectory_loss_gradnorm"]
rows = [row for row in rows if "loss" in row]
error = math.inf if len(rows) != len(wanted) else max(
    max(abs(row["loss"] / loss - 1), abs(row["grad_norm"] / norm - 1))
    for row, (loss, norm) in zip(rows, wanted))
report("trajectory of 20 steps", error, 1e-5, 5e-3)

sample = load(f"{directory}/sample.safetensors")[0]["sample"]
report("sample after training", distance(sample, golden["out/sample"]), 2e-5, 2e-2)
sys.exit(failed)
