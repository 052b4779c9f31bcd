#!/bin/sh
# One block of the paper's model by the slope between two depths: forward + backward alone, the whole
# step, one evaluation of the sampler, their floors and ratios.
# usage: tests/bench/block.sh SHALLOW DEEP [BATCH...]     programs of two depths; --sample at batch 8 comes last
# (SAMPLE_BATCH: another, 0: not at all).
#   mvcc models/dit.mvs --set bf16=true --set depth=2 --gpu sm_90a -o dit2      and depth=6 for the other
# Options for bench go into BENCH_OPTIONS (default: --recompute none). Figures are kept in BENCH_OUT where it is set.
set -eu
shallow=$1; deep=$2; shift 2
[ $# -gt 0 ] || set -- 16 128
out=${BENCH_OUT:-}
if [ -n "$out" ]; then mkdir -p "$out"; else out=$(mktemp -d); trap 'rm -rf "$out"' EXIT; fi
measure() { # NAME OPTION...
  name=$1; shift
  # shellcheck disable=SC2086
  "$shallow" bench ${BENCH_OPTIONS:---recompute none} "$@" --json "$out/$name-shallow.json" >"$out/$name-shallow.txt"
  # shellcheck disable=SC2086
  "$deep" bench ${BENCH_OPTIONS:---recompute none} "$@" --json "$out/$name-deep.json" >"$out/$name-deep.txt"
}
for batch in "$@"; do measure "train-$batch" --batch "$batch"; done
[ "${SAMPLE_BATCH:-8}" = 0 ] || measure sample --sample --batch "${SAMPLE_BATCH:-8}"
"${PYTHON:-python3}" - "$out" "$@" <<'EOF'
import json, os, sys
out, batches = sys.argv[1], sys.argv[2:]
# Tensors [B, T, width] in bf16 that the light kernels of the paper's block read and write: docs/performance.md.
TABLE = {"grad": 50, "forward": 19}


def slope(name):
    a, b = (json.load(open(f"{out}/{name}-{which}.json")) for which in ("shallow", "deep"))
    n = b["blocks"] - a["blocks"]
    d = {k: (b[k] - a[k]) / n for k in b if k.endswith("_ms") or k.endswith("_bytes")}
    d["batch"], d["core"], d["hardware"] = b["batch"], b["core"], b["hardware"]
    copy = b["copy_bytes_per_second"]
    paper = b["tokens"] == 320 and b["micro_batch"] == b["batch"]
    table = TABLE[b["core"]] * b["micro_batch"] * 320 * 1024 * 2
    d["table_floor_ms"] = d["core_matmul_ms"] + d["core_attention_ms"] + 1e3 * table / copy if paper else None
    d["copy_tb_s"] = copy / 1e12
    return d


rows = [slope(name) for name in [f"train-{b}" for b in batches] + ["sample"] if os.path.exists(f"{out}/{name}-deep.json")]
print(f"{rows[0]['hardware']}; ms a block, copy {rows[0]['copy_tb_s']:.3f} TB/s")
print(f"{'core':8} {'batch':>5} {'core':>7} {'step':>7} {'matmul':>7} {'attn':>6} {'least MB':>8} {'floor':>7} {'/floor':>6} "
      f"{'turns':>7} {'/turns':>6} {'table':>7} {'/table':>6} {'step/f':>6}")
for d in rows:
    table = f"{d['table_floor_ms']:7.4f} {d['core_ms'] / d['table_floor_ms']:6.3f}" if d["table_floor_ms"] else "-"
    print(f"{d['core']:8} {d['batch']:5} {d['core_ms']:7.4f} {d['step_ms']:7.4f} {d['core_matmul_ms']:7.4f} "
          f"{d['core_attention_ms']:6.4f} {d['core_least_bytes'] / 1e6:8.1f} {d['core_floor_ms']:7.4f} "
          f"{d['core_ms'] / d['core_floor_ms']:6.3f} {d['core_turns_ms']:7.4f} {d['core_ms'] / d['core_turns_ms']:6.3f} "
          f"{table:>14} {d['step_ms'] / d['step_floor_ms']:6.3f}")
json.dump(rows, open(f"{out}/block.json", "w"), indent=1)
EOF
