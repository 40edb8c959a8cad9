#!/usr/bin/env bash
# prometheus-client 0.26.0, a service whose unit says ProcSubset=pid, so that /proc has the folders of
# processes and no /proc/stat.
#
# Guess: process_start_time_seconds is left out, because only it needs the time of the boot.
# Seen: the page has none of the six process_* metrics: not the memory, the processor time and the
# open files either, although /proc/self has them all; and no error and no line says so.
#
# The folder below is what a process sees there: its own 'self' and nothing else.
# Needs Linux, Python 3.11 and a package index. Exits 0 if this version still behaves so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'prometheus-client==0.26.0' \
  2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
mkdir "$folder/proc"
ln -s /proc/self "$folder/proc/self"

cat >"$folder/run.py" <<'PYTHON'
import sys

from prometheus_client import CollectorRegistry, ProcessCollector


def names(proc):
    registry = CollectorRegistry()
    ProcessCollector(registry=registry, proc=proc)
    return sorted(metric.name for metric in registry.collect())


whole, subset = names("/proc"), names(sys.argv[1])
print("with /proc/stat:", *whole)
print("without it:", *subset)
assert len(whole) == 6
assert subset == [], "the other metrics are there now"
PYTHON
"$folder/venv/bin/python" "$folder/run.py" "$folder/proc"
