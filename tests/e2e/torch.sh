#!/bin/sh
# Weights from PyTorch's own files: the same bits as from safetensors; and files that lie: one clear sentence,
# nothing run, nothing written, no memory of their choosing.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
data="$root/tests/data"
"$MVCC" "$root/models/dit.mvs" --set depth=3 --set width=64 --set heads=2 --set kv_heads=2 --set ffn=160 --set channels=8 \
  --set patch=1 --set latent_h=4 --set latent_w=6 --set text_tokens=5 --set context_width=48 --residual mvsplit -o "$work/x"
printf 'model m {\n  input z : f32[4]\n  param w : f32[4] = 1\n  output v : z * w\n}\n' >"$work/small.mvs"
"$MVCC" "$work/small.mvs" -o "$work/small"
cd "$work"
ln -s "$data/dev-mvsplit.pt" g.pt; ln -s "$data/dev-mvsplit.safetensors" g; ln -s "$data/module.pt" module.pt; ln -s "$data/legacy.pt" legacy.pt
same() { # TITLE COMMAND...
  title=$1; shift
  ./x "$@" --weights g --weights-prefix w/ --out a >/dev/null
  ./x "$@" --weights g.pt --weights-prefix model/ --out b >/dev/null
  if cmp -s a b; then echo "ok $title: the same bits from .pt"; else echo "not ok $title: the same bits from .pt"; fi
  rm -f a b
}
same "the output" eval --inputs g --inputs-prefix in/
same "loss and gradients" grad --inputs g --inputs-prefix in/
/usr/bin/python3 "$here/torch_files.py" .
/usr/bin/python3 - "$here" <<'EOT'
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from tensors import save
save("in", {"z": np.ones((2, 4), np.float32)})
EOT
# says FILE SENTENCE [HINT]: loading FILE fails with this sentence, nothing is left, within 2 GiB and a minute, which is for loaded machines.
says() {
  got=0; before=$(ls -R . | cksum)
  # shellcheck disable=SC2086
  (ulimit -v 2000000; exec timeout 60 "./${program:-small}" eval --weights "$1" ${inputs:---inputs in} --out o) >out 2>err || got=$?
  text=$(sed -n '1s/^[a-z]*: error: //p' err); hint=$(sed -n 's/^ *= hint: //p' err); lines=$(grep -c . err || true)
  rm -f out err
  if [ "$got" -eq 1 ] && [ "$text" = "$2" ] && [ "$lines" -le 2 ] && [ "$hint" = "${3:-}" ] && [ "$before" = "$(ls -R . | cksum)" ]; then
    echo "ok $2"
  else
    echo "not ok exit $got, wanted '$2' ('${3:-}'), got '$text' ('$hint')"
  fi
}
wrong() { says "$1.pt" "'$1.pt' is malformed: $2"; }
pickle() { says "$1.pt" "'$1.pt' is malformed: byte $2 of its pickle $3"; }
only="only tensors and plain values are read, nothing is run"
refused() { says "$1.pt" "'$1.pt' is not read: byte $2 of its pickle $3; $only" "${4:-}"; }
alone="save the weights alone: torch.save(model.state_dict(), FILE)"
./small eval --weights good.pt --inputs in --out o && rm o && echo "ok a file put together by hand" || echo "not ok a file put together by hand"
program=x inputs="--inputs g --inputs-prefix in/" says g.pt "'g.pt': tensor 'patch_embed.patch_proj.weight' is missing (and 34 more)" "try --weights-prefix 'model/'"
says legacy.pt "'legacy.pt' has the format of before PyTorch 1.6, which is not read" \
  "load it in PyTorch and save it anew: torch.save(torch.load(OLD), NEW)"
refused module 2 "asks for 'torch.nn.modules.linear.Linear'" "$alone"
refused run 2 "asks for 'os.system'" "$alone"
refused built 18 "asks for 'builtins.eval'" "$alone"
refused instance 3 "asks for 'os.system'" "$alone"
refused opcode 3 "has the instruction 0x49"
refused complex 56 "asks for 'torch.ComplexFloatStorage'" "$alone"
wrong cut "it has no directory of a zip archive (is it cut short?)"
wrong head "it has no directory of a zip archive (is it cut short?)"
wrong far "entry 'archive/data/0' has no sound header (is it cut short?)"
wrong twice "entry 'archive/data/0' is there twice"
wrong again "tensor 'w' is there twice"
wrong itself "its dicts nest too deeply or too often"
wrong doubled "its dicts nest too deeply or too often"
wrong recalled "its dicts nest too deeply or too often"
says deflated.pt "'deflated.pt': entry 'archive/data.pkl' is compressed; torch.save compresses nothing: save it anew"
says other.pt "'other.pt' is a zip archive, but torch.save did not write it (no data.pkl)"
says big.pt "'big.pt' was written by a big-endian machine"
says none.pt "'none.pt' holds no tensors"
pickle protocol 0 "has protocol 7; 2 to 5 are read"
pickle text 2 "is cut short"
pickle empty 0 "is cut short"
pickle stop 2 "takes a value from an empty stack"
pickle memo 3 "remembers as number 4294967295, and 0 are known"
pickle mark 4 "takes a mark for a value"
pickle pile 65538 "piles up more than 65536 values"
pickle tuples 4194305 "goes on behind 4194304 instructions"
pickle behind 167 "is followed by 2 bytes"
pickle absent 101 "names a storage that is not in the archive"
pickle climb 107 "names a storage that is not in the archive"
pickle short 101 "names a storage whose size is not that of its entry"
pickle huge 101 "names a storage whose size is not that of its entry"
pickle outside 165 "makes a tensor that lies outside its storage"
pickle offset 165 "makes a tensor that lies outside its storage"
pickle strides 165 "makes a tensor that lies outside its storage"
pickle negative 165 "makes no tensor of up to 8 axes"
pickle axes 325 "makes no tensor of up to 8 axes"
pickle product 185 "makes a tensor with more elements than 64 bits count"
says wide.pt "'wide.pt': tensor 'w' is [1099511627776], the model needs [4]"
