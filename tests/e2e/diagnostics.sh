#!/bin/sh
# Diagnostics: every number against a direct float64 computation, at the golden files' sizes and at those of
# digits, in f32 and bf16; and that looking changes nothing: the same weights with and without, with blocks
# kept or redone, with one thread.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$here"
same() { # TITLE FILE FILE
  if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not ok $1"; fi
}
run() { # NAME ARGUMENT...: trains six steps on the batch of $file into $work/NAME; checkpoints hold what a watch saw
  name=$1; shift
  "$work/x" train --fixed-batch "$file" --inputs-prefix in/ --weights "$file" --weights-prefix w/ --steps 6 \
    --watch off --out "$work/$name" "$@" >"$work/log" 2>&1 || { echo "not ok $name runs"; cat "$work/log"; exit 1; }
}
check() { # RULE HEADS KIND ANCHORS GRADIENTS
  rm -rf "$work/run" "$work/not" "$work/redone" "$work/one"
  run run --diagnose 1 --anchors "$4"
  run not --diagnose 0
  run redone --diagnose 1 --anchors "$4" --recompute block
  run one --diagnose 1 --anchors "$4" --threads 1
  /usr/bin/python3 "$here/diagnostics.py" check "$file" "$5" "$work/run" "$1" "$2" "$3" || true
  for other in not redone one; do
    same "$1 $3: $other: the same weights" "$work/run/step-6.safetensors" "$work/$other/step-6.safetensors"
  done
  for other in redone one; do
    same "$1 $3: $other: the same diagnostics" "$work/run/diagnostics.jsonl" "$work/$other/diagnostics.jsonl"
  done
}
dims="--set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 --set channels=8
  --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=48"
for rule in mvsplit layerscale plain; do
  for kind in f32 bf16; do
    file="$root/tests/data/dev-$rule.safetensors"
    [ $kind = bf16 ] && bf16=true || bf16=false
    # shellcheck disable=SC2086
    "$MVCC" "$root/models/dit.mvs" $dims --set bf16=$bf16 --residual "$rule" -o "$work/x"
    check $rule 2 $kind 0,1,2 "$file"
  done
done
# The sizes of digits, three samples.
file="$work/digits.safetensors"
/usr/bin/python3 "$here/diagnostics.py" make "$file"
"$MVCC" "$root/models/dit.mvs" --set depth=8 --set width=64 --set heads=4 --set kv_heads=4 --set ffn=192 --set channels=4 \
  --set latent_h=4 --set latent_w=4 --set text_tokens=4 --set context_width=48 -o "$work/x"
"$work/x" grad --weights "$file" --weights-prefix w/ --inputs "$file" --inputs-prefix in/ --out "$work/grad.safetensors" >/dev/null
check mvsplit 4 f32 0,1,2,3,4,5,6,7 "$work/grad.safetensors"

# Steps and anchors. The first step and each third; the paper's anchors that there are.
rm -rf "$work/run"; run run --diagnose 3
[ "$(sed 's/,.*//; s/.*://' "$work/run/diagnostics.jsonl" | tr '\n' ' ')" = "1 3 6 " ] &&
  grep -q '"tcs":{"layers":\[0,1,2,4\]' "$work/run/diagnostics.jsonl" &&
  echo "ok steps and anchors by default" || { echo "not ok steps and anchors by default"; cut -c1-60 "$work/run/diagnostics.jsonl"; }
# Of several micro-batches the first is looked at; the norms are of the whole batch.
rm -rf "$work/parts"; run parts --diagnose 1 --micro-batch 1
/usr/bin/python3 - "$work" <<'END'
import json, sys
whole, parts = (json.loads(open(f"{sys.argv[1]}/{n}/diagnostics.jsonl").readline())["tables"] for n in ("run", "parts"))
far = lambda t: max(abs(a / b - 1) for s in whole[t]["sites"] for a, b in zip(parts[t]["sites"][s], whole[t]["sites"][s]))
print(("ok" if far("gradient") < 1e-5 else "not ok"), "norms of gradients are of the whole batch", far("gradient"))
print(("ok" if far("tcs") < 1e-5 and far("rho") > 1e-3 else "not ok"), "diagnostics are of the first micro-batch", far("tcs"), far("rho"))
END
refused() { # TITLE WORDS ARGUMENT...
  title=$1 words=$2; shift 2
  if "$work/x" train --fixed-batch "$file" --inputs-prefix in/ --steps 1 --diagnose 1 --out "$work/none" "$@" >"$work/log" 2>&1; then
    echo "not ok $title is refused"
  elif grep -q "$words" "$work/log" && [ "$(wc -l <"$work/log")" -eq 1 ] && [ ! -e "$work/none" ]; then
    echo "ok $title is refused"
  else echo "not ok $title is refused"; cat "$work/log"; fi
}
refused "a layer that is not there" "counted from 0 to 7" --anchors 0,8
refused "a list that is none" "needs layers such as" --anchors 0,,1

# A product through its writer leaves no branch to look at, which is told; the stream is still there.
"$MVCC" "$root/models/digits.mvs" --set depth=3 --means writer --explain -o "$work/x" >"$work/explain" 2>&1
grep -q "diagnose blocks.ffn: no r_tr, var_gain: " "$work/explain" && grep -q "diagnose blocks.ffn.w2: no g_mean, g_ctr: " "$work/explain" &&
  ! grep -q "diagnose .*: no tcs\|is left out" "$work/explain" &&
  echo "ok what cannot be had is told" || { echo "not ok what cannot be had is told"; grep diagnose "$work/explain"; }
"$work/x" train --steps 1 --batch 4 --diagnose 1 --out "$work/writer" >/dev/null 2>&1
grep -q '"rho":' "$work/writer/diagnostics.jsonl" && grep -q '"tcs":' "$work/writer/diagnostics.jsonl" &&
  ! grep -q '"g_mean":' "$work/writer/diagnostics.jsonl" && echo "ok the stream without its branch" || echo "not ok the stream without its branch"

# Nothing to train, so nothing to look at.
cat >"$work/still.mvs" <<'END'
model still {
  input zt : f32[3, 4, 4]
  output velocity : zt * 0.5
}
train { objective rectified_flow }
END
"$MVCC" "$work/still.mvs" -o "$work/still" 2>"$work/log" && echo "ok a model without parameters compiles" ||
  { echo "not ok a model without parameters compiles"; cat "$work/log"; }

# A rule and layers that nobody here has seen: a branch that ends in no product, without a segment, two stacks.
cat >"$work/own.mvs" <<'END'
residual halved(gate: scalar = 0.5) { 0.5 * x + gate * f(rmsnorm(x)) }
layer gated(x, size) {
  y = linear(x, size) as up
  linear(silu(y), features(x), writes = true) * sigmoid(linear(x, features(x)) as gate)
}
model own {
  input zt : f32[3, 4, 4]
  x = patch_embed(zt, 1, 24) as patch_embed
  residual halved as mix
  stack 3 as first { x <- gated(x, 40) as gated }
  stack 2 as second {
    x <- attention(x, 3, 1)
    x <- mlp(x, 32) as mlp
  }
  output velocity : unpatchify(linear(x, 3) as out, 1)
}
train { objective rectified_flow  optimizer adamw(lr = 1e-3)  batch 5 }
END
"$MVCC" "$work/own.mvs" -o "$work/own"
/usr/bin/python3 - "$work" <<'END'
import sys
import numpy as np
from tensors import save
draw = np.random.default_rng(1).standard_normal
save(sys.argv[1] + "/own.safetensors", {"x0": draw((5, 3, 4, 4)), "x1": draw((5, 3, 4, 4)), "t": np.full(5, 0.4)})
END
for n in 0 1; do
  "$work/own" train --fixed-batch "$work/own.safetensors" --steps 4 --watch off --diagnose $n --out "$work/own-$n" >"$work/log" 2>&1 ||
    { echo "not ok own rule trains"; cat "$work/log"; }
done
same "own rule: the same weights" "$work/own-0/step-4.safetensors" "$work/own-1/step-4.safetensors"
/usr/bin/python3 - "$work/own-1/diagnostics.jsonl" <<'END'
import json, sys
tables = json.loads(open(sys.argv[1]).readlines()[-1])["tables"]
def sites(table):
    return {s for s, row in tables.get(table, {"sites": {}})["sites"].items() if any(v is not None for v in row)}
updates = {"first.gated", "second.update1", "second.mlp"}
wanted = {"rho": updates, "tcs": updates, "mu_eff": {"second.update1"}, "leak": {"second.update1"},
          "g_mean": {"first.gated", "second.proj", "second.mlp.w2"}, "gain_mean": {f"first.mix1.gate", "second.mix1.gate", "second.mix2.gate"}}
for table, names in wanted.items():
    print("ok" if sites(table) == names else "not ok", f"own rule: {table} of {', '.join(sorted(sites(table)))}")
END
