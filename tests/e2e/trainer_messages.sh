#!/bin/sh
# Wrong command lines and wrong files: one clear sentence, a non-zero exit, nothing left behind.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
golden="$root/tests/data/dev-mvsplit.safetensors"; other="$root/tests/data/dev-plain.safetensors"
cd "$work"
"$MVCC" "$root/models/dit.mvs" --set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 --set channels=8 \
  --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=48 --residual mvsplit -o dit
"$MVCC" "$root/models/digits.mvs" --set depth=1 --set width=16 --set heads=2 --set ffn=16 -o digits
ln -s "$golden" g; ln -s "$other" plain; mkdir full; : >full/file
head -c 5000 "$golden" >cut; printf 'not tensors at all' >text
./digits train --steps 1 --batch 2 --out run >/dev/null
# says CODE SENTENCE COMMAND...: the last line of stderr before any hint is "PROGRAM: error: SENTENCE".
says() {
  code=$1 sentence=$2 got=0; shift 2
  before=$(ls -R . | cksum); "$@" >out 2>err || got=$?
  rm -f out; line=$(grep -c . err || true); text=$(sed -n '1s/^[a-z]*: error: //p' err); mv err ../err.$$
  after=$(ls -R . | cksum); rm -f ../err.$$
  if [ "$got" -eq "$code" ] && [ "$text" = "$sentence" ] && [ "$line" -le 2 ] && [ "$before" = "$after" ]; then
    echo "ok $sentence"
  else
    echo "not ok exit $got, wanted '$sentence', got '$text'"
  fi
}
w="--weights g --weights-prefix w/" i="--inputs g --inputs-prefix in/"
# shellcheck disable=SC2086
{
says 2 "unknown command 'trian'" ./dit trian
says 2 "unknown option '--stepz'" ./dit train --stepz 3
says 1 "--out is missing (see --help)" ./dit train
says 1 "--weights is missing (see --help)" ./dit eval $i --out o
says 1 "cannot open 'none': No such file or directory" ./dit eval --weights none $i --out o
says 1 "'text' is not a safetensors file: its header would not fit the file (is it cut short?)" ./dit eval --weights text $i --out o
says 1 "'cut' is not a safetensors file: its header would not fit the file (is it cut short?)" ./dit eval --weights cut $i --out o
says 1 "'g': tensor 'patch_embed.patch_proj.weight' is missing (and 34 more)" ./dit eval --weights g $i --out o
says 1 "'g': no tensor's name starts with 'v/'" ./dit eval --weights g --weights-prefix v/ $i --out o
says 1 "'plain': tensor 'w/blocks.0.fused_mvsplit_norm1.alpha' is missing (and 11 more)" ./dit eval --weights plain --weights-prefix w/ $i --out o
says 1 "'run/step-1.safetensors': tensor 'context_proj.weight' is missing (and 24 more)" ./dit eval --weights run $i --out o
says 1 "'g': tensor 'context' is missing" ./dit eval $w --inputs g --out o
says 1 "cannot write '/nowhere/o': No such file or directory" ./dit eval $w $i --out /nowhere/o
says 1 "cannot write 'full': it is a directory" ./dit eval $w $i --out full
says 1 "cannot write '/dev/null': not a regular file" ./dit eval $w $i --out /dev/null
says 1 "'full' is not empty and holds no run; choose another --out" ./digits train --out full
says 1 "'run' already holds a run; --resume continues it, or choose another --out" ./digits train --out run
says 1 "there is no run to resume in 'new' (no run.json)" ./digits train --out new --resume
says 1 "--batch 4 differs from what the run in 'run' was started with (2); leave it out to resume, or choose another --out" ./digits train --out run --resume --batch 4
says 1 "'run' holds a run of another model: 'digits' with residual mvsplit, this program is 'dit' with residual mvsplit" ./dit train --out run --resume
says 1 "--data is missing: digits, or a folder of safetensors shards" ./dit train --out new
says 1 "--data 'nothing' is neither digits nor a folder or file of safetensors shards" ./dit train --out new --data nothing
says 1 "the folder 'full' holds no .safetensors files" ./dit train --out new --data full
says 1 "data 'digits' has x0 f32[1, 8, 8], the model needs f32 with 192 elements" ./dit train --out new --data digits --batch 2
says 1 "--data and --fixed-batch exclude each other" ./dit train --out new --data digits --fixed-batch g
says 1 "--micro-batch 3 does not divide the batch of 10" ./digits train --out new --batch 10 --micro-batch 3
says 1 "--betas needs two numbers from 0 up to below 1, such as 0.9,0.999, not '0.9'" ./digits train --out new --betas 0.9
says 1 "--out 'x.jpg' must end in .png (a grid) or .safetensors" ./digits sample --weights run --out x.jpg
says 1 "samples have 8 channels, a picture has 1 or 3; write them to a .safetensors file" ./dit sample $w --out x.png
says 1 "--labels needs numbers divided by commas, such as 0,1,2, not '1,,2'" ./digits sample --weights run --labels 1,,2 --out x.png
says 1 "--labels: 77 is no label: the model has 0 to 10, the last for none" ./digits sample --weights run --labels 3,77 --out x.png
says 1 "'full' holds no complete checkpoint (step-N.safetensors)" ./digits sample --weights full/latest --out x.png
says 1 "'run/step-1.safetensors': tensor 'noise' is missing" ./digits sample --weights run --noise run/step-1.safetensors --noise-name noise --out x.png
}
# holds TITLE PATTERN COMMAND...: the command fails and its message has the pattern.
holds() {
  title=$1 pattern=$2; shift 2
  if text=$("$@" 2>&1); then echo "not ok $title: it succeeded"; return; fi
  case $text in *$pattern*) echo "ok $title" ;; *) echo "not ok $title: $text" ;; esac
}
train="./dit train --fixed-batch g --inputs-prefix in/ --out new"
# shellcheck disable=SC2086
{
holds "a budget below any plan" "with --recompute block, but --memory allows 2.60 MiB; use a smaller --micro-batch" $train --memory 2.6MiB
holds "a budget for redone blocks only" "use --recompute block or a smaller --micro-batch" $train --memory 3.2MiB --recompute none
holds "a budget below the weights" "alone, but --memory allows 100 KiB" $train --memory 100k
}
$train --memory 3.2MiB --steps 1 >/dev/null && echo "ok the same budget with blocks redone" || echo "not ok the same budget with blocks redone"
"$BUILD/mvs-trainer" 2>&1 | grep -q 'no compiled program is appended' && echo "ok a trainer without a program" || echo "not ok a trainer without a program"
for command in info train sample eval grad bench; do
  ./dit $command --help | grep -q -- --device && echo "ok $command --help" || echo "not ok $command --help"
done
