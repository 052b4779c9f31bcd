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
cp "$root/models/digits.mvs" g.mvs; ln -s "$golden" g; ln -s "$other" plain; mkdir full; : >full/file
head -c 5000 "$golden" >cut; printf 'not tensors at all' >text
./digits train --steps 1 --batch 2 --out run >/dev/null
cp run/step-1.safetensors weights
for value in 77 -5; do
  /usr/bin/python3 - "labels$value" $value <<'EOT'
import json, struct, sys
data = bytes(256) + struct.pack("<i", int(sys.argv[2]))
header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": range} for name, dtype, shape, range in
                     (("zt", "F32", [1, 1, 8, 8], [0, 256]), ("label", "I32", [1], [256, 260]))})
shard = header.replace("zt", "x0")
for name, text in ((sys.argv[1], header), (sys.argv[1] + ".shard", shard)):
    open(name, "wb").write(struct.pack("<Q", len(text)) + text.encode() + data)
EOT
done
/usr/bin/python3 - weights <<'EOT'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
(length,) = struct.unpack("<Q", data[:8])
begin = json.loads(data[8:8 + length])["final_proj.weight"]["data_offsets"][0] + 8 + length + 4 * 5
for name, value in ("nan", float("nan")), ("inf", float("-inf")):
    open(name, "wb").write(data[:begin] + struct.pack("<f", value) + data[begin + 4:])
EOT
# edited NAME OLD NEW: a copy of the run whose record was edited.
edited() { cp -r run "$1"; sed -i "s/$2/$3/" "$1/run.json"; }
edited word '"batch": "2"' '"batch": "x"'; edited number '"batch": "2"' '"batch": 2'; edited broken '{' '['
edited other '"options"' '"choices"'
# Pipes that nobody writes to, a picture without end, JSON as deep as a file is long.
for part in run.json metrics.jsonl samples.png; do cp -r run "pipe-$part"; rm -f "pipe-$part/$part"; mkfifo "pipe-$part/$part"; done
cp -r run folder; rm folder/metrics.jsonl; mkdir folder/metrics.jsonl
cp -r run sparse; truncate -s 1T sparse/samples.png
cp -r run deep; /usr/bin/python3 -c 'print("[" * 100000)' >deep/run.json
cp -r run wide; /usr/bin/python3 -c 'print("{\"step\": " + "9" * 100000 + "}")' >wide/metrics.jsonl
mkfifo pipe
/usr/bin/python3 - <<'EOT'
import json, struct
header = json.dumps({"a\x1b[2J\nb": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}})
open("escape", "wb").write(struct.pack("<Q", len(header)) + header.encode() + bytes(4))
EOT
# says CODE SENTENCE COMMAND...: the last line of stderr before any hint is "PROGRAM: error: SENTENCE".
says() {
  code=$1 sentence=$2 got=0; shift 2
  before=$(ls -R . | cksum); timeout 60 "$@" >out 2>err || got=$?
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
says 1 "--steps 0 is fewer than the 1 that the run in 'run' has taken" ./digits train --out run --resume --steps 0
says 1 "--batch needs a whole number, not 'x'" ./digits train --out word --resume
says 1 "the recorded --batch is no string" ./digits train --out number --resume
says 1 "'broken/run.json' is damaged: ']' expected near ':'" ./digits train --out broken --resume
says 1 "'other/run.json' is damaged: it does not describe a run" ./digits train --out other --resume
says 1 "'deep/run.json' is damaged: maximum parsing depth reached near '['" ./digits train --out deep --resume
says 1 "cannot read 'pipe-run.json/run.json': it is not a regular file" ./digits train --out pipe-run.json --resume
says 1 "cannot read 'pipe-run.json/run.json': it is not a regular file" ./digits report pipe-run.json
says 1 "cannot read 'pipe-metrics.jsonl/metrics.jsonl': it is not a regular file" ./digits watch pipe-metrics.jsonl --once
says 1 "cannot read 'pipe-metrics.jsonl/metrics.jsonl': it is not a regular file" ./digits train --out pipe-metrics.jsonl --resume --steps 2
says 1 "cannot read 'folder/metrics.jsonl': it is a directory" ./digits report folder
says 1 "cannot read 'pipe-samples.png/samples.png': it is not a regular file" ./digits report pipe-samples.png
says 1 "'sparse/samples.png' has 1099511627776 bytes, the limit is 8388608" ./digits report sparse
says 1 "not a line of JSON: too big integer" ./digits report wide
says 1 "'escape' is malformed: tensor 'a?[2J?b' has a shape that does not fit its bytes" ./digits sample --weights escape --out x.png
says 1 "cannot open 'pipe': it is not a regular file" ./digits sample --weights pipe --out x.png
says 1 "cannot read 'pipe': it is not a regular file" "$MVCC" pipe -o x
says 2 "--batch must be within 1 and 2147483647, not '2147483648'" ./digits train --out new --batch 2147483648
says 1 "'labels77': tensor 'label' holds 77, which is no label: the model has 0 to 10, the last for none" ./digits eval --weights run --inputs labels77 --out o
says 1 "'labels-5.shard': tensor 'label' holds -5, which is no label: the model has 0 to 10, the last for none" ./digits train --out new --data labels-5.shard
says 1 "'nan': tensor 'final_proj.weight' is not finite: element 5 is nan" ./digits sample --weights nan --ema off --out x.png
says 1 "'inf': tensor 'final_proj.weight' is not finite: element 5 is infinite" ./digits sample --weights inf --ema off --out x.png
says 1 "--out 'weights' is the file that --weights reads; choose another --out" ./digits eval --weights weights --inputs labels77 --out weights
says 1 "--out 'g' is the file that --weights reads; choose another --out" ./dit grad $w $i --out g
says 1 "-o 'g.mvs' is the model file itself; choose another" "$MVCC" g.mvs -o g.mvs
says 1 "-o './g.mvs' is the model file itself; choose another" "$MVCC" g.mvs --emit graph -o ./g.mvs
says 1 "a grid of 10000000 images would have 164844x164064 pixels; write fewer, or a .safetensors file" ./digits sample --weights run --count 10000000 --out x.png
says 1 "--data is missing: digits, or a folder of safetensors shards" ./dit train --out new
says 1 "--data 'nothing' is neither digits nor a folder or file of safetensors shards" ./dit train --out new --data nothing
says 1 "the folder 'full' holds no .safetensors files" ./dit train --out new --data full
says 1 "data 'digits' has x0 f32[1, 8, 8], the model needs f32 with 192 elements" ./dit train --out new --data digits --batch 2
says 1 "--data and --fixed-batch exclude each other" ./dit train --out new --data digits --fixed-batch g
says 1 "--micro-batch 3 does not divide the batch of 10" ./digits train --out new --batch 10 --micro-batch 3
says 1 "--betas needs two numbers from 0 up to below 1, such as 0.9,0.999, not '0.9'" ./digits train --out new --betas 0.9
says 1 "--out 'x.jpg' must end in .png (a grid) or .safetensors" ./digits sample --weights run --out x.jpg
says 1 "samples have 8 channels, a picture has 1 or 3; write them to a .safetensors file" ./dit sample $w --out x.png
says 1 "samples have 8 channels, a picture has 1 or 3; leave out --sample-every, and let \`sample\` write a .safetensors file" \
  ./dit train --out new --fixed-batch g --inputs-prefix in/ --sample-every 5
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
# A closed standard stream: its number must not go to a file, into which messages would be written.
./digits train --steps 2 --batch 2 --out closed >&- 2>&- || true
[ "$(grep -c '^{"step"' closed/metrics.jsonl)" = "$(grep -c . closed/metrics.jsonl)" ] && echo "ok closed streams" || echo "not ok closed streams"
# A run that goes on further and is cut short goes that far when it is resumed.
./digits train --steps 20000 --resume --out run >/dev/null & pid=$!
while [ ! -f run/metrics.jsonl ] || [ "$(grep -c . run/metrics.jsonl)" -lt 5 ]; do sleep 0.01; done
kill -INT $pid; wait $pid; grep -q '"steps": "20000"' run/run.json && echo "ok a longer run is recorded" || echo "not ok a longer run is recorded"
