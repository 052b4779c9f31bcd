#!/bin/sh
# The rules of the house that a script can check: includes look left only, headers compile alone, banned calls,
# lengths of files and lines, no notes to self.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
cd "$root"
/usr/bin/python3 - "$BUILD" <<'EOF'
import concurrent.futures, glob, os, re, subprocess, sys

build = sys.argv[1]
files = sorted(f for folder in ("compiler", "dsl", "codegen", "runtime")
               for f in glob.glob(folder + "/**/*.[ch]", recursive=True))
text = {f: open(f).read() for f in files}
order = ["compiler/base", "compiler/toolkit", "dsl", "compiler/ir", "compiler/passes", "codegen", "runtime", "compiler/mvcc"]


def report(title, wrong):
    print(("not ok " if wrong else "ok ") + title + "".join("\n  " + w for w in wrong))


def part(path):
    return next(p for p in order if path.startswith(p + "/"))


def may_see(path, other):
    if part(path) == "runtime":  # the compiled program, base, toolkit and itself: a trainer links no compiler
        return part(other) in ("runtime", "compiler/base", "compiler/toolkit") or other.startswith("codegen/program.")
    return order.index(part(other)) <= order.index(part(path))


included = [(f, i) for f in files for i in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text[f], re.M) if "/" in i]
report("includes look left only", [f"{f} includes {i}" for f, i in included
       if any(i.startswith(p + "/") for p in order) and not may_see(f, i)])
banned = re.compile(r"(?<![\w.>])(sprintf|vsprintf|strcpy|strcat|gets|atoi|atol|atof|alloca|system|popen)\s*\(")
plain = {f: re.sub(r'/\*.*?\*/|"(\\.|[^"\\])*"', "", t, flags=re.S) for f, t in text.items()}
report("no banned call", [f"{f}: {m[1]}" for f in files for m in banned.finditer(plain[f])])
report("no file over 800 lines", [f for f in files if text[f].count("\n") > 800])
report("no line over 100 columns", [f"{f}:{n}" for f in files
       for n, line in enumerate(text[f].split("\n"), 1) if len(line) > 100])
report("no notes to self", [f for f in files if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", text[f])])
llvm = subprocess.run(["llvm-config-19", "--includedir"], capture_output=True, text=True).stdout.strip()


def alone(header):
    done = subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-I.", "-I" + build, "-isystem", llvm,
                           "-x", "c", header], capture_output=True, text=True)
    return None if done.returncode == 0 else header + ": " + done.stderr.split("\n")[0]


headers = [f for f in files if f.endswith(".h")]
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    report("every header compiles alone", [w for w in pool.map(alone, headers) if w])
EOF
