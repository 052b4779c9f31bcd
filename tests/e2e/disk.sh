#!/bin/sh
# Disks that fail: calls of a resumed run fail one by one (MOST of a kind, by SEED), and a disk that is really full.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); full="$work/full"
trap 'umount "$full" 2>/dev/null || true; rm -rf "$work"' EXIT
"$MVCC" "$root/models/digits.mvs" --set depth=2 --set width=32 --set heads=2 --set ffn=48 -o "$work/x"
/usr/bin/python3 "$here/disk.py" "$work/x" "$BUILD/tests/libfault.so" "$work" "${MOST:-4}" "${SEED:-$(date +%s)}"

say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat "$work/log"; fi; }
# Samples are mapped: a file that shrinks while it is read leaves no call that could fail.
mkdir "$work/data"
/usr/bin/python3 - "$work/data/a.safetensors" <<'END'
import json, struct, sys
count = 4096
header = {"x0": {"dtype": "F32", "shape": [count, 1, 8, 8], "data_offsets": [0, 256 * count]},
          "label": {"dtype": "I32", "shape": [count], "data_offsets": [256 * count, 260 * count]}}
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + bytes(260 * count))
END
"$work/x" train --data "$work/data" --batch 8 --steps 1000000 --out "$work/cut" >/dev/null 2>"$work/log" & pid=$!
until [ -e "$work/cut/metrics.jsonl" ] || ! kill -0 $pid; do sleep 0.05; done
truncate -s 8192 "$work/data/a.safetensors"; code=0; wait $pid || code=$?
[ "$code" -eq 1 ] && grep -q '^x: error: a file that is being read was cut short, or its disk fails$' "$work/log" && code=0 || code=1
say $code "a file of samples that shrinks while it is read ends the run with a sentence"

mkdir "$full"
if ! mount -t tmpfs -o size=2m none "$full" 2>/dev/null; then echo "skipped 5 no disk of our own to fill: that takes root"; exit 0; fi
train="train --data digits --batch 4 --save-every 5 --keep 100 --threads 1"
# shellcheck disable=SC2086
"$work/x" $train --steps 40 --out "$work/roomy" >/dev/null
code=0
# shellcheck disable=SC2086
"$work/x" $train --steps 40 --out "$full/run" >/dev/null 2>"$work/log" || code=$?
[ "$code" -eq 1 ] && [ "$(grep -c 'error:' "$work/log")" -eq 1 ] && grep -q 'No space left on device' "$work/log" && code=0 || code=1
say $code "a full disk ends the run with one sentence"
[ -z "$(find "$full" -name '*.tmp')" ] && code=0 || code=1
say $code "and leaves nothing half written"
code=0; "$work/x" sample --weights "$full/run/latest" --count 1 --steps 1 --out "$work/s.safetensors" >/dev/null 2>"$work/log" || code=$?
say $code "the newest checkpoint on it loads"
head -c 100000000 /dev/zero >"$full/ballast" 2>/dev/null || true
code=0; "$work/x" train --data digits --batch 4 --steps 1 --out "$full/more" >/dev/null 2>"$work/log" || code=$?
[ "$code" -eq 1 ] && grep -q "the disk of '$full/more' has .* left, and a checkpoint takes .* KiB$" "$work/log" &&
  [ ! -e "$full/more" ] && code=0 || code=1
say $code "a disk without room for a checkpoint is told before the first step"
rm "$full/ballast"
# Room is made, by as many checkpoints fewer; the rest of the run is the one that had room.
code=0; "$work/x" train --resume --keep 1 --out "$full/run" >/dev/null 2>"$work/log" || code=$?
cmp -s "$work/roomy/step-40.safetensors" "$full/run/step-40.safetensors" || code=1
say $code "with fewer kept it goes on to the same bits"
