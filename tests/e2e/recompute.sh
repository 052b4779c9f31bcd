#!/bin/sh
# Any number of a block's values may be redone instead of kept: the bits stay, memory falls, and
# --recompute auto redoes as few as fit.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
say() { if "$@" >"$work/log" 2>&1; then echo "ok $title"; else echo "not ok $title"; cat "$work/log"; fi; }
dims="--set depth=6 --set width=64 --set heads=4 --set kv_heads=2 --set ffn=96 --set channels=8
  --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=16"
PYTHONPATH="$here" /usr/bin/python3 - "$work" <<'EOF'
import sys
import numpy as np
from tensors import save
random = np.random.default_rng(11)
draw = lambda *shape: random.standard_normal(shape).astype(np.float32)
for name, shape in ("dit", (7, 8, 4, 6)), ("two", (7, 4, 6, 6)):
    save(f"{sys.argv[1]}/{name}.safetensors", {"x0": draw(*shape), "x1": draw(*shape),
         "context": draw(7, 5, 16), "t": random.uniform(size=7).astype(np.float32)})
EOF
# Two stacks, a second carried value, and a rule that looks at the layer's number.
cat >"$work/two.mvs" <<'EOF'
residual far(alpha: gain = 0.5) { x + alpha * f(rmsnorm(x, eps = 1e-5)) / (1 + layer) }
model two {
  input z : f32[4, 6, 6]
  x = patch_embed(z, 1, 64) as patch_embed
  memory = 0 * x
  residual far as join
  stack 5 as early {
    x <- attention(x, 4, 4) as operator
    memory = 0.5 * memory + silu(x)
  }
  residual sandwich as norm
  stack 6 as late { x <- swiglu(x + memory, 96) as ffn }
  output velocity : unpatchify(linear(x + memory, 4) as final_proj, 1)
}
train { objective rectified_flow optimizer adamw(lr = 1e-3) batch 8 }
EOF
check() { # NAME INPUTS COMMAND-LINE...
  name=$1; inputs="$work/$2.safetensors"; shift 2
  x="$work/$name"
  "$MVCC" "$@" -o "$x" --explain >"$x.explain"
  title="$name: the table of values is explained"; say grep -q "or redone from other such values" "$x.explain"
  "$x" info --batch 7 >"$x.info"
  title="$name: info lists as many values"
  count=$(grep -c '^ .* kernels\{0,1\} moving .*; from its input' "$x.explain")
  say test "$(grep -c ' f32\[B.* of .*\.mvs:' "$x.info")" -eq "$count"
  "$x" train --fixed-batch "$inputs" --warmup 0 --steps 3 --out "$x.run" >"$work/log" 2>&1
  grad="$x grad --weights $x.run/latest --ema off --inputs $inputs"
  $grad --recompute none --out "$x.none"
  $grad --recompute block --out "$x.block"
  title="$name: the bits of kept and redone blocks"; say cmp "$x.none" "$x.block"
  # Budgets over the whole range, so that ever more values are redone.
  wrong=0; ran=0; choices=""
  for tenth in $(seq 10 4 130); do
    memory="$((tenth * 100))KiB"
    $grad --memory "$memory" --out "$x.some" >"$work/log" 2>&1 || continue
    ran=$((ran + 1)); cmp -s "$x.none" "$x.some" || wrong=$((wrong + 1))
    choice=$("$x" bench --batch 7 --steps 1 --memory "$memory" 2>/dev/null | sed -n '1s/.*blocks //p')
    [ -n "$choice" ] || continue
    case "$choices" in *"$choice|"*) ;; *) choices="$choices$choice|" ;; esac
  done
  title="$name: the bits of $ran budgets"; say test "$ran" -gt 3 -a "$wrong" -eq 0
  title="$name: budgets redo different numbers of values ($choices)"
  say test "$(printf '%s' "$choices" | tr -cd '|' | wc -c)" -gt 3
}
# shellcheck disable=SC2086
for rule in mvsplit layerscale; do check $rule dit "$root/models/dit.mvs" $dims --residual $rule; done
check two_stacks two "$work/two.mvs"
# Several streams, whose chain of reductions is redone from every fourth; reads of earlier blocks and
# a value of the first one, which stay. Their blocks hold more, so that few of the budgets are enough.
# shellcheck disable=SC2086
check streams dit "$root/models/dit.mvs" $dims --set width=32 --residual 'mhc(n = 3, times = 6)'
# shellcheck disable=SC2086
check earlier dit "$root/models/dit.mvs" $dims --set width=32 --set values=value_residual --residual 'denseformer(dilation = 2)'
# Sums of groups and a history, which stay where they are, while blocks are redone around them.
# shellcheck disable=SC2086
check groups dit "$root/models/dit.mvs" $dims --set width=32 --residual 'attnres(groups = 3)'
# shellcheck disable=SC2086
check history dit "$root/models/dit.mvs" $dims --set width=32 --residual denseformer_full
