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
# What no line of ours calls, and why. Tests may start a shell and trust the numbers that they are given.
unbounded = "writes without knowing how much room there is"
silent = "takes what is no number, or too large a one, for some number"
shell = "hands a string to a shell"
banned = {"sprintf": unbounded, "vsprintf": unbounded, "strcpy": unbounded, "stpcpy": unbounded, "strcat": unbounded,
          "gets": unbounded, "scanf": unbounded, "strncpy": "may leave no end, and fills the rest with zeros",
          "strncat": "its number is not that of the room", "strtok": "keeps hidden state and writes into its input",
          "alloca": "grows the stack by what input says", "tmpnam": "another process may make that file first",
          "tempnam": "another process may make that file first", "mktemp": "another process may make that file first",
          "rand": "is not the same everywhere (runtime/random.h is)", "srand": "see rand",
          "longjmp": "jumps over what has to be released (arena.c alone, for lack of memory)",
          "vfork": "shares memory with its parent"}
product_only = {"atoi": silent, "atol": silent, "atoll": silent, "atof": silent, "sscanf": silent, "system": shell, "popen": shell}
may_jump = ("compiler/base/arena.",)


def without_words(t):  # comments and strings become as many line ends as they had
    return re.sub(r'/\*.*?\*/|"(\\.|[^"\\])*"', lambda m: "\n" * m[0].count("\n"), t, flags=re.S)


def banned_calls(name, plain, calls):
    found = re.finditer(r"(?<![\w.>])(%s)\s*\(" % "|".join(calls), plain)
    return [f"{name}: {m[1]} {calls[m[1]]}" for m in found if m[1] != "longjmp" or not name.startswith(may_jump)]


# malloc and its kin give NULL: what they give is looked at within the next lines, before it is used.
def unchecked(name, plain):
    for m in re.finditer(r"([\w.>-]+) = (?:malloc|calloc|realloc)\(", plain):
        behind, given = "\n".join(plain[m.end():].split("\n")[:6]), re.escape(m[1])
        if not re.search(rf"!{given}\b|\bif \({given}\b|{given} &&|\({given} \?", behind):
            yield f"{name}: {m[1]}"


plain = {f: without_words(t) for f, t in text.items()}
tests = {f: without_words(open(f).read()) for f in sorted(glob.glob("tests/**/*.[ch]", recursive=True))}
report("no banned call", [w for f in files for w in banned_calls(f, plain[f], {**banned, **product_only})] +
       [w for f in tests for w in banned_calls(f, tests[f], banned)])
report("what malloc gives is checked", [w for f in files for w in unchecked(f, plain[f])])
wrong = "char *a = malloc(9);\nstrcpy(a, b); n = atoi(a);"
seen = banned_calls("", wrong, {**banned, **product_only}) + list(unchecked("", wrong))
report("these checks see what is wrong", [] if len(seen) == 3 else seen)
report("no file over 800 lines", [f for f in files if text[f].count("\n") > 800])
report("no line over 96 columns", [f"{f}:{n}" for f in files
       for n, line in enumerate(text[f].split("\n"), 1) if len(line) > 96])
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
