#!/bin/sh
# Makes the runs that the watch is scored on: runs.sh MVCC FOLDER [NAME-PATTERN]. About 20 minutes on two
# cores. `seen` runs were at hand when the rules were made, `unseen` ones were first replayed behind that.
set -eu
mvcc=$1 folder=$2 pattern=${3:-*}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
cp "$here/deep.mvs" "$folder/full.mvs"; grep -v '^  init ' "$here/deep.mvs" >"$folder/zero.mvs"
# NAME START DEPTH RATE WARM-UP SEED STEPS RESIDUAL
while read -r name start depth rate warmup seed steps residual; do
  # shellcheck disable=SC2254
  case $name in $pattern) ;; *) continue ;; esac
  [ ! -e "$folder/$name" ] || continue
  "$mvcc" run "$folder/$start.mvs" --set "depth=$depth" --residual "$residual" train --out "$folder/$name" \
    --lr "$rate" --warmup "$warmup" --seed "$seed" --steps "$steps" --save-every 100000 --diagnose 1 || true
  rm -f "$folder/$name"/step-*.safetensors
done <<'END'
seen1 zero 96 6e-3 300 1 450 plain
seen2 zero 96 1.2e-2 600 2 500 plain
seen3 zero 128 6e-3 500 3 500 plain
seen4 full 96 4e-3 300 4 450 plain
seen5 zero 96 4e-3 20 5 400 plain
seen6 full 64 4e-3 500 6 500 plain
seen7 zero 64 1.2e-2 500 7 500 plain
seen8 zero 64 4e-3 100 0 500 plain
seen9 full 64 1e-3 100 0 500 plain
seen10 zero 96 6e-3 300 1 450 mvsplit(beta=0.1)
seen11 zero 64 2e-3 100 2 450 plain
seen12 zero 96 4e-3 100 3 400 layerscale(gamma=1e-2)
seen13 zero 64 4e-3 100 4 400 prenorm
seen14 zero 16 4e-3 50 5 800 plain
seen15 full 64 5e-4 100 8 500 plain
seen16 zero 96 3e-3 100 9 500 mvsplit(beta=0.1)
seen17 zero 48 3e-3 100 10 600 plain
unseen1 zero 96 5e-3 200 11 400 plain
unseen2 zero 80 8e-3 400 12 450 plain
unseen3 zero 96 1e-2 300 13 400 mvsplit(beta=0.1)
unseen4 zero 112 7e-3 500 14 450 plain
unseen5 full 96 1e-3 100 15 400 plain
unseen6 zero 96 1e-3 100 16 500 plain
unseen7 full 64 3e-3 400 17 500 plain
unseen8 zero 48 6e-3 300 18 500 prenorm
unseen9 zero 96 8e-3 600 19 500 plain
unseen10 zero 16 4e-3 50 20 1000 mvsplit
unseen11 zero 64 6e-3 100 21 500 layerscale(gamma=1e-2)
unseen12 zero 128 6e-3 400 22 450 plain
unseen13 zero 96 6e-3 300 31 450 plain
unseen14 zero 96 7e-3 200 32 400 plain
unseen15 zero 64 1.0e-2 400 33 450 plain
unseen16 zero 64 1.5e-3 100 34 600 plain
unseen17 full 64 5e-4 100 35 500 plain
unseen18 zero 64 8e-3 200 36 450 mvsplit(beta=0.1)
unseen19 zero 112 5e-3 300 37 450 plain
unseen20 zero 24 3e-3 50 38 800 prenorm
END
