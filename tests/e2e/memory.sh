#!/bin/sh
# Memory that runs out anywhere: in mvcc, in LLVM inside of it, in every command of a program. MOST failures a command
# (docs/testing.md has the figure of a long run), SEED decides which; `memory.sh NAME...` for some sweeps alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$MVCC" "$root/models/digits.mvs" --set depth=2 --set width=32 --set heads=2 --set ffn=48 -o "$work/x"
# A program small enough for every failure of a command, and weights as PyTorch writes them.
printf 'model m {\n  input z : f32[4]\n  param w : f32[4] = 1\n  output v : z * w\n}\n' >"$work/small.mvs"
"$MVCC" "$work/small.mvs" -o "$work/small"
/usr/bin/python3 "$here/torch_files.py" "$work"
/usr/bin/python3 "$here/memory.py" "$MVCC" "$root/models/digits.mvs" "$work/x" "$BUILD/tests/libfault.so" "$work" "${MOST:-60}" "${SEED:-$(date +%s)}" "$@"
