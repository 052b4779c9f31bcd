#!/bin/sh
# clang-tidy over the product with the checks of .clang-tidy, and that it finds what it should.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$root"
command -v clang-tidy-19 >/dev/null || { echo "skipped 2 clang-tidy-19 is not installed"; exit 0; }
# Options of gcc that clang does not know are none of its business.
/usr/bin/python3 - "$BUILD" "$work" <<'EOF'
import json, os, sys

build, work = sys.argv[1:]
held = [c for c in json.load(open(build + "/compile_commands.json")) if c["file"].endswith(".c") and not c["file"].startswith(build)
        and "/tests/" not in c["file"]]  # tests compare bits of floats and trust what they are given
for command in held:
    command["command"] += " -Wno-unknown-warning-option -Wno-error"
json.dump(held, open(work + "/compile_commands.json", "w"))
print("\n".join(sorted({os.path.relpath(c["file"]) for c in held})), file=open(work + "/files", "w"))
EOF
files=$(wc -l <"$work/files")
if xargs -P "$(nproc)" -n 8 clang-tidy-19 -p "$work" --quiet <"$work/files" >"$work/log" 2>"$work/noise"; then
  echo "ok clang-tidy finds nothing in $files files"
else
  echo "not ok clang-tidy finds nothing in $files files"; grep -A 3 'error:' "$work/log" | head -60
fi
printf '#include <stdlib.h>\nint f(const char *text);\nint f(const char *text) {\n  return text == text ? atoi(text) : 0;\n}\n' >"$work/wrong.c"
if clang-tidy-19 --quiet --config-file=.clang-tidy "$work/wrong.c" -- >"$work/log" 2>&1; then
  echo "not ok clang-tidy finds what is wrong"
else
  grep -q 'misc-redundant-expression' "$work/log" && grep -q 'cert-err34-c' "$work/log" && echo "ok clang-tidy finds what is wrong" ||
    { echo "not ok clang-tidy finds what is wrong"; cat "$work/log"; }
fi
