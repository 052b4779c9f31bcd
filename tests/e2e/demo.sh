#!/bin/sh
# The README's demo, after the build: at most 2 minutes of training and sampling on 2 cores, and digits that
# look like digits by three figures.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
start=$(date +%s)
"$MVCC" "$root/models/digits.mvs" -o "$work/digits"
"$work/digits" train --data digits --out "$work/run" 2>"$work/log"
"$work/digits" sample --weights "$work/run/latest" --count 100 --out "$work/digits.png"
seconds=$(($(date +%s) - start))
[ "$seconds" -le 120 ] && echo "ok training and sampling took $seconds s" || echo "not ok training and sampling took $seconds s"
/usr/bin/python3 -c "
import struct, sys
data = open('$work/digits.png', 'rb').read()
width, height = struct.unpack('>II', data[16:24])
print('ok a PNG grid of', width, 'x', height) if data[:8] == b'\x89PNG\r\n\x1a\n' and width * height > 6400 else print('not ok PNG')"
"$work/digits" sample --weights "$work/run/latest" --count 200 --out "$work/samples.safetensors"
/usr/bin/python3 "$here/digits_quality.py" "$work/samples.safetensors"
