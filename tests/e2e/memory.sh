#!/bin/sh
# Memory that runs out anywhere: in mvcc, in LLVM inside of it, in every command of a program. MOST failures a command
# (docs/testing.md has the figure of a long run), SEED decides which.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$MVCC" "$root/models/digits.mvs" --set depth=2 --set width=32 --set heads=2 --set ffn=48 -o "$work/x"
/usr/bin/python3 "$here/memory.py" "$MVCC" "$root/models/digits.mvs" "$work/x" "$BUILD/tests/libfault.so" "$work" "${MOST:-60}" "${SEED:-$(date +%s)}"
