"""Line and branch coverage of a build with MVCC_COVERAGE, by folder and by file.

usage: tests/coverage.py BUILD [--least PERCENT]

Reads what the run programs left beside their objects through gcov. A line counts as covered when any object that holds it
ran it; a branch is one way out of a condition. What needs a GPU is counted apart: it cannot run here. With --least the exit
status is 1 when the lines of all other folders together are covered less.
"""
import collections, concurrent.futures, glob, gzip, json, os, re, subprocess, sys, tempfile

FOLDERS = ("compiler", "dsl", "codegen", "runtime")
NEEDS_GPU = re.compile(r"^runtime/(cuda_.*|device_cuda\.c)$")
LEAST_OF_A_FILE = 90  # files below are listed


def read(root, notes):
    """The counts of some objects: {file: ({line: runs}, {(line, number): taken})}."""
    lines, branches = collections.defaultdict(collections.Counter), collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--hash-filenames", *notes], cwd=work, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for path in glob.glob(work + "/*.gcov.json.gz"):
            held = json.load(gzip.open(path))
            for file in held["files"]:
                name = os.path.relpath(os.path.join(held["current_working_directory"], file["file"]), root)
                if not name.startswith(FOLDERS):
                    continue
                for line in file["lines"]:
                    lines[name][line["line_number"]] += line["count"]
                    for at, branch in enumerate(line["branches"]):
                        branches[name][line["line_number"], at] += branch["count"]
    return lines, branches


def share(counts):
    return 100 * sum(1 for count in counts if count) / len(counts) if counts else 100


def main(build, least):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    notes = sorted(os.path.abspath(n) for n in glob.glob(build + "/**/*.gcno", recursive=True))
    if not notes:
        sys.exit(f"coverage: '{build}' was not built with MVCC_COVERAGE")
    lines, branches = collections.defaultdict(collections.Counter), collections.defaultdict(collections.Counter)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for some_lines, some_branches in pool.map(lambda part: read(root, part), [notes[i::16] for i in range(16)]):
            for name in some_lines:
                lines[name].update(some_lines[name])
                branches[name].update(some_branches[name])
    folders = collections.defaultdict(lambda: ([], []))
    for name in lines:
        folder = "needs a GPU" if NEEDS_GPU.match(name) else os.path.dirname(name)
        for key in (folder,) if folder == "needs a GPU" else (folder, "together"):
            folders[key][0].extend(lines[name].values())
            folders[key][1].extend(branches[name].values())
    print(f"{'folder':24}{'lines':>8}{'covered':>10}{'branches':>10}{'taken':>10}")
    for folder in sorted(folders, key=lambda f: (f == "together", f == "needs a GPU", f)):
        of_lines, of_branches = folders[folder]
        print(f"{folder:24}{len(of_lines):8}{share(of_lines):9.1f}%{len(of_branches):10}{share(of_branches):9.1f}%")
    low = sorted((share(lines[n].values()), n) for n in lines if not NEEDS_GPU.match(n))
    print(f"files below {LEAST_OF_A_FILE} % of lines:")
    for covered, name in low:
        if covered >= LEAST_OF_A_FILE:
            break
        missing = [line for line, count in sorted(lines[name].items()) if not count]
        print(f"  {covered:5.1f}%  {name}: lines {' '.join(map(str, missing[:24]))}{' ...' if len(missing) > 24 else ''}")
    return 0 if share(folders["together"][0]) >= least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[3]) if sys.argv[2:3] == ["--least"] else 0))
