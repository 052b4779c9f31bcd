#!/bin/sh
# Prints one hash of all CUDA texts and plans that this tree emits for the models and for the programs of the GPU
# tests. docs/results/GPU.json holds the hash of the tree that it was measured on: tests/e2e/gpu.sh compares.
# usage: MVCC=build/mvcc tests/gpu/hash.sh
set -eu
case $MVCC in /*) ;; *) MVCC=$PWD/$MVCC ;; esac
here=$(cd "$(dirname "$0")" && pwd)
dumps=$(mktemp); trap 'rm -f "$dumps"' EXIT
cd "$here/../../models" # dumps name source files as they were given
program() {
  name=$1; shift
  echo "== $name" >>"$dumps"
  "$MVCC" "$@" --emit plan >>"$dumps"
  "$MVCC" "$@" --emit cuda >>"$dumps"
}
. "$here/programs.sh"
for model in *.mvs; do program "$model" "$model"; done
sha256sum "$dumps" | cut -d' ' -f1
