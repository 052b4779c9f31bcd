#!/bin/sh
# Every kernel of every model in models/ compiles for sm_80, sm_90a and sm_100 and to PTX, here, without a GPU;
# a kernel that spills registers is an error of mvcc's. Then the cache of compiled kernels.
# Needs NVRTC (scripts/setup.sh brings it): without it every line here fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# A cache of this test's own: cold at the start, so that all is compiled, and warm for what models share.
export MVCC_CACHE="$work/cache"
unset MVCC_CUDA_IMAGES

try() { # TITLE ARCHITECTURES ARGUMENT...: compiles; prints each kernel's registers and how many entries were new
  title=$1 architectures=$2; shift 2
  before=$(find "$work/cache" -type f 2>/dev/null | wc -l)
  if "$MVCC" "$@" --gpu "$architectures" --explain -o "$work/x" >"$work/out" 2>"$work/log"; then
    new=$(($(find "$work/cache" -type f | wc -l) - before))
    echo "ok $title for $architectures ($new new images)"
    sed -n "s/^registers of/# $title:/p; s/^images for/# $title:/p" "$work/out"
  else
    new=0; echo "not ok $title for $architectures"; cat "$work/log"
  fi
}
all=sm_80,sm_90a,sm_100
for model in "$root"/models/*.mvs; do try "$(basename "$model" .mvs)" $all "$model"; done
# The same kernels at another depth are found, but for those whose sizes hold the depth; 270 images in all.
try "dit400 at depth 48" $all "$root/models/dit400.mvs" --set depth=48
[ "$new" -le 20 ] && echo "ok kernels are the same at every depth" || echo "not ok $new images are new at depth 48"
try "dit in bf16, again" $all "$root/models/dit.mvs" --set bf16=true
[ "$new" -eq 0 ] && echo "ok a model compiled before needs nothing new" || echo "not ok $new images are new"
try "odd sizes, biases, grouped heads" sm_80 "$root/models/dit.mvs" --set depth=3 --set width=60 --set heads=3 \
  --set kv_heads=1 --set ffn=52 --set channels=3 --set latent_h=5 --set latent_w=3 --set text_tokens=1 \
  --set context_width=7 --set bias=true --set bf16=true
for rule in plain prenorm layerscale rezero deepnorm sandwich hyper hyper_dynamic mhc denseformer attnres denseformer_full; do
  try "digits with $rule" sm_80 "$root/models/digits.mvs" --residual "$rule"
done
# Forty token means of one pass: more sums than registers, were each thread to hold a whole vector of each.
means=$(i=1; while [ $i -le 40 ]; do printf ' + mean(sigmoid(%d * f))' $i; i=$((i + 1)); done)
printf 'use "%s" with residual many()\nresidual many() { rmsnorm(x + f%s, eps = 1e-5) }\n' \
  "$root/models/dit.mvs" "$means" >"$work/many.mvs"
try "forty token means" sm_80 "$work/many.mvs" --set depth=2 --set bf16=true
# The gradient of this row reads seven tensors in four phases, and 8,192 features are more than registers keep of them.
cat >"$work/long.mvs" <<'EOF'
layer row(z) {
  param gain : f32[features(z)] = 1
  x = rmsnorm(z * gain, trained = true) as norm
  y = x / (1 + max_features(abs(x))) + mean_features(x * z)
  y * rsqrt(1 + sum_features(y * y))
}
model rows {
  input z : f32[3, 8192]
  x = z
  residual mvsplit as merge
  stack 2 as blocks { x <- row(x) as branch }
  output velocity : x
}
EOF
try "rows of 8,192" sm_80,sm_90a "$work/long.mvs"
# A scale that is a whole number.
cat >"$work/scale.mvs" <<'EOF'
model scale {
  input z : f32[5, 6]
  q = split_heads(z, 2)
  output velocity : merge_heads(sdpa(q, q, q, 1))
}
EOF
try "attention with scale 1" sm_80 "$work/scale.mvs"

# Kernels are launched before the one ahead of them has ended: each must wait before it touches memory, and nothing
# may count as constant while a kernel runs.
# The tables of sin and cos, which no kernel writes, may.
cat >"$work/order.awk" <<'EOF'
/^\.visible \.entry/ { tell(); name = $3; waits = constant = table = early = 0 }
/griddepcontrol\.wait/ { waits++ }
/i2opi/ { table = 1 }
/ld\.global\.nc/ { constant = 1 }
/(ld|st|atom|red|cp\.async)[a-z.]*\.global/ { if (waits == 0) early = 1 }
function tell() { if (name) { kernels++; if (!waits || early || (constant && !table)) bad = bad " " name } }
END { tell(); print (bad || !kernels ? "not ok" : "ok") " kernels wait for the work ahead" bad " # " kernels " kernels" }
EOF
"$MVCC" "$root/models/dit.mvs" --set bf16=true --gpu sm_90a -o "$work/dit"
LC_ALL=C tr '\0' '\n' <"$work/dit" | LC_ALL=C awk -f "$work/order.awk"

# --- the cache, on a model of few kernels ---
cat >"$work/tiny.mvs" <<'EOF'
model tiny {
  input x : f32[4, 6]
  output y : rmsnorm(x, eps = 1e-5)
}
EOF
tiny() { "$MVCC" "$work/tiny.mvs" --gpu sm_80 -o "$1"; } # OUT
same() { if cmp -s "$work/none" "$2"; then echo "ok $1"; else echo "not ok $1"; fi; } # TITLE OUT
MVCC_CACHE=off tiny "$work/none"
export MVCC_CACHE="$work/a/b/small"
tiny "$work/cold" && same "a cold cache changes nothing" "$work/cold"
cp -r "$MVCC_CACHE" "$work/kept"
count=$(find "$MVCC_CACHE" -type f | wc -l)
tiny "$work/warm" && same "nor does a warm one" "$work/warm"
# Reading is what makes it fast: an entry with another's bytes, its checksum right, would be seen.
set -- "$MVCC_CACHE"/*
: >"$1"; head -c 100 "$2" >"$work/cut"; mv "$work/cut" "$2"; printf x >>"$3"
printf 'X' | dd of="$4" bs=1 seek=60 conv=notrunc 2>/dev/null; cp "$6" "$5"
tiny "$work/damaged" && same "empty, cut, longer, changed and exchanged entries are compiled again" "$work/damaged"
diff -r "$MVCC_CACHE" "$work/kept" >"$work/log" && echo "ok damaged entries are replaced" ||
  { echo "not ok damaged entries are replaced"; cat "$work/log"; }
set -- "$MVCC_CACHE"/*
rm -f "$1" "$2" "$3" "$4" "$5" "$6"
tiny "$work/one" & first=$!
tiny "$work/two" & second=$!
wait $first && wait $second && cmp -s "$work/none" "$work/one" && same "two processes at once" "$work/two"
[ "$(find "$MVCC_CACHE" -type f | wc -l)" -eq "$count" ] && echo "ok no other files are left" || echo "not ok files are left"
# What stands there is bounded: an entry of 300 MB (a hole on disk) that nobody used goes when a process writes.
old="$MVCC_CACHE/00000000000000000000000000000000"
truncate -s 300M "$old"; touch -d '2 days ago' "$old"
tiny "$work/read" && [ -e "$old" ] && rm -f "$1" && tiny "$work/bounded" && same "a full cache" "$work/bounded"
[ ! -e "$old" ] && [ "$(find "$MVCC_CACHE" -type f | wc -l)" -eq "$count" ] && echo "ok the oldest entry goes, the others stay" ||
  { echo "not ok the oldest entry goes, the others stay"; rm -f "$old"; }
MVCC_CACHE=/dev/null/folder tiny "$work/nowhere" && same "a cache that cannot be written" "$work/nowhere"
(unset MVCC_CACHE; XDG_CACHE_HOME="$work/xdg" tiny "$work/x" && [ "$(find "$work/xdg/mvcc" -type f | wc -l)" -eq "$count" ]) &&
  echo "ok XDG_CACHE_HOME" || echo "not ok XDG_CACHE_HOME"

# --- wrong architectures ---
says() { # PATTERN ARCHITECTURES
  if "$MVCC" "$work/tiny.mvs" --gpu "$2" -o "$work/x" 2>"$work/log"; then echo "not ok $2 compiles"; return; fi
  if grep -q -e "$1" "$work/log"; then echo "ok $2 is refused"; else echo "not ok $2: $(cat "$work/log")"; fi
}
says "error: --gpu: NVRTC .* knows no 'sm_81'; it knows .*sm_80, " sm_80,sm_81
says "error: --gpu: NVRTC .* knows no '90'" 90
says "error: --gpu: NVRTC .* knows no 'sm_90x'" sm_90x
