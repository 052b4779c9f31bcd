#!/bin/sh
# How weights start: what a trainer makes of constant, uniform and normal, in layers and outside of them.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
cat >x.mvs <<'END'
model starts {
  input zt : f32[1, 8, 8]
  init writers = uniform(0.3)
  init proj_in = normal(0.05)
  init vectors = 0.25
  x = patch_embed(zt, 2, 64) as proj_in
  residual prenorm as norm
  stack 6 as blocks { x <- swiglu(x, 128, bias = true) as ffn }
  output velocity : unpatchify(linear(x, 4) as final_proj, 2)
}
train { objective rectified_flow optimizer adamw(lr = 1e-3) batch 8 precision f32 data "digits" }
END
"$MVCC" x.mvs -o x
for seed in 0 1; do ./x train --steps 0 --seed $seed --out "run$seed" >/dev/null; done
./x train --steps 0 --seed 0 --threads 1 --out again >/dev/null
PYTHONPATH="$here" /usr/bin/python3 - <<'EOF2'
import numpy as np
import tensors


def say(title, good, shown=""):
    print(("ok " if good else "not ok ") + title, "" if good else shown)


first, other, again = ({n: a for n, a in tensors.load(f"{folder}/step-0.safetensors")[0].items() if not n.startswith("adam_")}
                       for folder in ("run0", "run1", "again"))
writers = {n: a for n, a in first.items() if n.endswith("ffn.w2.weight")}
w = np.concatenate([a.ravel() for a in writers.values()]).astype(np.float64)
# 6 x 64 x 128 draws: bounds at 5 standard deviations of each estimate.
say("six layers, each with its own numbers", len(writers) == 6 and len({a.tobytes() for a in writers.values()}) == 6, list(first))
say("uniform: within the bound and up to it", np.abs(w).max() <= np.float32(0.3) and w.max() > 0.2999 and w.min() < -0.2999, (w.min(), w.max()))
say("uniform: mean 0, deviation bound / sqrt 3", abs(w.mean()) < 5 * 0.3 / np.sqrt(3 * w.size) and abs(w.std() - 0.3 / np.sqrt(3)) < 5 * 0.3 * np.sqrt(1 / 45 / w.size) * np.sqrt(3), (w.mean(), w.std()))
n = next(a for k, a in first.items() if k.startswith("proj_in") and k.endswith("weight")).ravel().astype(np.float64)
say("normal: mean 0 and its deviation", abs(n.mean()) < 5 * 0.05 / np.sqrt(n.size) and abs(n.std() - 0.05) < 5 * 0.05 / np.sqrt(2 * n.size), (n.mean(), n.std(), n.size))
vectors = [a for n, a in first.items() if n.endswith(".bias")]  # weights of norms are constants of the library
say("constants", vectors and all((a == np.float32(0.25)).all() for a in vectors), [a.ravel()[:3] for a in vectors])
say("another seed, other numbers", all((first[k] != other[k]).any() for k in writers))
say("the same whatever the threads", all(first[k].tobytes() == again[k].tobytes() for k in first))
EOF2
