#!/bin/sh
# From nothing to sampled digits: installs what is missing, builds the release, compiles models/digits.mvs,
# trains it, samples a grid and says where it is.
set -eu
cd "$(dirname "$0")/.."
./scripts/setup.sh
./scripts/build.sh release
out=runs/demo
rm -rf "$out" && mkdir -p "$out"
build/mvcc models/digits.mvs -o "$out/digits"
"$out/digits" train --data digits --out "$out/run"
"$out/digits" sample --weights "$out/run/latest" --count 100 --out "$out/digits.png"
echo "The sampled digits are in $PWD/$out/digits.png"
