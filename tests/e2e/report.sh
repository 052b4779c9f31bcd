#!/bin/sh
# The page over runs: what goes into it, what it refuses, and what a real browser makes of it in light and dark, wide
# and narrow. SHOTS=FOLDER keeps the pictures, to be looked at.
set -eu
here=$(cd "$(dirname "$0")" && pwd); root=$(cd "$here/../.." && pwd)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
"$MVCC" "$root/models/digits.mvs" --set depth=2 -o "$work/x"
cd "$work"
/usr/bin/python3 "$here/report_runs.py" short 500 1
/usr/bin/python3 "$here/report_runs.py" long 5000 3
say() { if [ "$1" -eq 0 ]; then echo "ok $2"; else echo "not ok $2"; cat log; fi; }

code=0; ./x report short/* --out short.html >log 2>&1 && ./x report long/* --out long.html --title 'a </script><b>' >>log 2>&1 || code=$?
say $code "pages over 4 and over 12 runs"
code=0; ./x report short/2-0 >log 2>&1 && [ -s short/2-0/report.html ] || code=1
say $code "the page of one run is in its folder"
/usr/bin/python3 "$here/report_page.py"

refuse() { # what, file, line of sed, message
  cp -r short/0-0 bad; sed -i "$3" "bad/$2"; echo old >page.html
  code=0; ./x report bad --out page.html >log 2>&1 || code=$?
  if [ $code -eq 1 ] && grep -q "$4" log && [ "$(cat page.html)" = old ]; then code=0; else code=1; fi
  say $code "refused: $1"; rm -rf bad
}
refuse "a metric that is no number" metrics.jsonl '7s/"loss": [0-9.]*/"loss": "low"/' "line 7 of 'bad/metrics.jsonl'"
refuse "a step that goes back" metrics.jsonl '9s/"step": 9/"step": 3/' "line 9 of 'bad/metrics.jsonl'"
refuse "a table with a row too short" diagnostics.jsonl '3s/\[[^[]*\]}}/[]}}/' "line 3 of 'bad/diagnostics.jsonl'"
refuse "an alarm of no level" alarms.jsonl '1s/"level": "[a-z]*"/"level": "loud"/' "line 1 of 'bad/alarms.jsonl'"
refuse "a record that is no run" run.json 's/"options"/"choices"/' "'bad/run.json' is damaged"
refuse "samples that are no picture" samples.png '1s/PNG/GIF/' "'bad/samples.png' is no PNG"
code=0; ./x report nowhere >log 2>&1 || code=$?
if [ $code -eq 1 ] && grep -q "no run in 'nowhere'" log; then code=0; else code=1; fi
say $code "refused: a folder without a run"
cp -r short/1-0 cut; truncate -s -9 cut/metrics.jsonl; rm cut/diagnostics.jsonl cut/alarms.jsonl cut/samples.png
code=0; ./x report cut >log 2>&1 || code=$?
say $code "a line that is being written and files that are not there are no mistake"

if [ -z "$(/usr/bin/python3 -c "import sys; sys.path.insert(0, '$here'); import browser; print(browser.find() or '')")" ]; then
  echo "skipped 22 no Chromium here"; exit 0
fi
/usr/bin/python3 "$here/report_browser.py" "${SHOTS:-$work}"
