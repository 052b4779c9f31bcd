#!/bin/sh
# Whole models on this machine's GPU: against the released model's outputs, and against themselves: the
# bits must not depend on recompute, nor change from run to run or by resuming.
# usage: tests/gpu/models.sh FOLDER      programs made by tests/gpu/compile.sh
set -u
folder=$1; here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
device=${MVCC_TEST_DEVICE:-cuda}; python=${PYTHON:-python3}

same() { # TITLE FILE FILE
  if cmp -s "$2" "$3"; then echo "ok $1"; else echo "not ok $1"; fi
}

# The tensors alone: the metadata names the matmul algorithms, which a fresh measurement may choose anew.
same_tensors() { # TITLE FILE FILE
  if "$python" - "$2" "$3" <<'END'
import sys
def tensors(path):
    data = open(path, "rb").read()
    return data[8 + int.from_bytes(data[:8], "little"):]
sys.exit(tensors(sys.argv[1]) != tensors(sys.argv[2]))
END
  then echo "ok $1"; else echo "not ok $1"; fi
}

golden() { # RULE KIND
  x="$folder/golden-$1-$2"; file="$root/tests/data/dev-$1.safetensors"; title="$1 $2"
  weights="--weights $file --weights-prefix w/ --device $device"
  for run in none block again; do
    out="$work/$1-$2-$run"; mkdir -p "$out"
    [ $run = again ] && recompute=none || recompute=$run
    # shellcheck disable=SC2086
    {
      "$x" eval $weights --inputs "$file" --inputs-prefix in/ --out "$out/velocity.safetensors" &&
      "$x" grad $weights --inputs "$file" --inputs-prefix in/ --recompute $recompute --out "$out/grad.safetensors" &&
      "$x" train --fixed-batch "$file" --inputs-prefix in/ $weights --steps 20 --lr 1e-3 --warmup 0 \
        --betas 0.9,0.95 --recompute $recompute --out "$out/run" &&
      "$x" sample --weights "$out/run/latest" --noise "$file" --noise-name in/x1 --context "$file" \
        --context-name in/context --steps 8 --cfg 2 --shift 4 --ema off --device $device --out "$out/sample.safetensors"
    } >"$out/log" 2>&1 || { echo "not ok $title runs (recompute $run)"; cat "$out/log"; return; }
  done
  "$python" "$root/tests/e2e/golden.py" "$file" "$work/$1-$2-none" "$title" "$2"
  for what in grad sample run/step-20; do
    same "$title: $what has the same bits with recompute" "$work/$1-$2-none/$what.safetensors" "$work/$1-$2-block/$what.safetensors"
    same "$title: $what has the same bits again" "$work/$1-$2-none/$what.safetensors" "$work/$1-$2-again/$what.safetensors"
  done
}

# What is looked at is right, and looking changes nothing: recorded steps with and without, blocks kept or redone.
diagnosed() { # RULE KIND
  x="$folder/golden-$1-$2"; file="$root/tests/data/dev-$1.safetensors"; title="$1 $2 diagnosed"
  out="$work/$1-$2-seen"; mkdir -p "$out"
  train="train --fixed-batch $file --inputs-prefix in/ --weights $file --weights-prefix w/ --device $device --watch off --steps 6"
  # shellcheck disable=SC2086
  {
    "$x" $train --diagnose 1 --anchors 0,1,2 --out "$out/all" &&
    "$x" $train --diagnose 1 --anchors 0,1,2 --recompute block --out "$out/redone" &&
    "$x" $train --diagnose 2 --anchors 1 --out "$out/some" &&
    "$x" $train --diagnose 0 --out "$out/none"
  } >"$out/log" 2>&1 || { echo "not ok $title runs"; cat "$out/log"; return; }
  PYTHONPATH="$root/tests/e2e" "$python" "$root/tests/e2e/diagnostics.py" check "$file" "$file" "$out/all" "$1" 2 "$2"
  same "$title: the same numbers with recompute" "$out/all/diagnostics.jsonl" "$out/redone/diagnostics.jsonl"
  for run in all redone some; do
    same_tensors "$title: $run: the same weights as without" "$out/$run/step-6.safetensors" "$out/none/step-6.safetensors"
  done
}

# Whole gradients beside the host's, from weights that the host trained for some steps: on operands drawn at random (gpu_check)
# the chain of mhc's turns has kept sums that belong to no matrix. A kernel may differ by 1e-5, as its sums have another order,
# and some ten of them stand behind one another: 1e-4 of each gradient's norm, or of a thousandth of the whole one where it is small.
gradients() { # RULE
  x="$folder/rule-$1"; file="$root/tests/data/dev-mvsplit.safetensors"; inputs="--inputs-prefix in/"
  # shellcheck disable=SC2086
  {
    "$x" train --fixed-batch "$file" $inputs --device cpu --steps 5 --lr 1e-2 --warmup 0 --out "$work/rule-$1" &&
    "$x" grad --weights "$work/rule-$1/latest" --inputs "$file" $inputs --device cpu --out "$work/rule-$1/host" &&
    "$x" grad --weights "$work/rule-$1/latest" --inputs "$file" $inputs --device "$device" --out "$work/rule-$1/device"
  } >"$work/log" 2>&1 || { echo "not ok gradients of $1 run"; cat "$work/log"; return; }
  PYTHONPATH="$root/tests/e2e" "$python" - "$work/rule-$1/host" "$work/rule-$1/device" "$1" <<'END'
import sys
import numpy as np
from tensors import load
host, device = load(sys.argv[1])[0], load(sys.argv[2])[0]
least = 1e-3 * float(host["grad_norm"])
apart = {name: np.linalg.norm(device[name].astype(float) - value.astype(float)) / max(np.linalg.norm(value.astype(float)), least)
         for name, value in host.items()}
worst = max(apart, key=apart.get)
good = host.keys() == device.keys() and least > 0 and apart[worst] <= 1e-4
print(f"{'ok' if good else 'not ok'} gradients of {sys.argv[3]} beside the host's: {apart[worst]:.1e}, of {worst} (at most 1e-4)")
END
}

digits() {
  train="train --device $device --batch 64 --micro-batch 32"
  # shellcheck disable=SC2086
  {
    "$folder/digits" $train --steps 12 --out "$work/whole" &&
    "$folder/digits" $train --steps 12 --out "$work/twice" &&
    MVCC_CACHE="$work/cache" "$folder/digits" $train --steps 12 --out "$work/fresh" &&
    "$folder/digits" $train --steps 5 --out "$work/parts" &&
    MVCC_CACHE="$work/no-cache" "$folder/digits" $train --steps 12 --resume --out "$work/parts" &&
    MVCC_GPU_ALGORITHMS=first "$folder/digits" $train --steps 12 --out "$work/first"
  } >"$work/log" 2>&1 || { echo "not ok digits trains"; cat "$work/log"; return; }
  same "digits: the same bits again" "$work/whole/step-12.safetensors" "$work/twice/step-12.safetensors"
  same "digits: a resumed run has the same bits, and table, without the cache" "$work/whole/step-12.safetensors" \
    "$work/parts/step-12.safetensors"
  same_tensors "digits: another measurement gives the same bits" "$work/whole/step-12.safetensors" "$work/fresh/step-12.safetensors"
  same_tensors "digits: the library's first choices do too" "$work/whole/step-12.safetensors" "$work/first/step-12.safetensors"
  # The driver's compiler and NVRTC, each from what the program carries, make the same of it as its cubins.
  for way in ptx text; do
    # shellcheck disable=SC2086
    MVCC_CUDA_IMAGES=$way MVCC_CACHE="$work/cache" "$folder/digits" $train --steps 12 --out "$work/$way" >"$work/log" 2>&1 ||
      { echo "not ok digits trains by $way"; cat "$work/log"; continue; }
    same_tensors "digits: the same bits by $way" "$work/whole/step-12.safetensors" "$work/$way/step-12.safetensors"
  done
}

for rule in mvsplit layerscale plain; do
  for kind in f32 bf16; do
    golden $rule $kind
    diagnosed $rule $kind
  done
done
digits
for rule in mhc hyper_dynamic attnres denseformer_full; do gradients $rule; done
