#!/usr/bin/env bash
# grafana-foundation-sdk, which has the types of Grafana's dashboards, by version of Grafana.
#
# Guess: the newest version on the index is that of the newest Grafana, and '>=11.6' asks for 11.6 or
# later.
# Seen: the time of each build is the epoch of its version, and the oldest schema is built last. So
# the newest version is 1769699998!10.1.0, and '>=11.6' is satisfied by Grafana 10.1: an epoch
# outweighs all that follows it. A constraint on Grafana's version has to name the epoch as well.
#
# Needs Python 3.11 and a package index. Exits 0 if the versions up to that one still behave so.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"

resolve() { # a requirement -> the version that pip takes
  rm -rf "$folder/taken"
  "$folder/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder/taken" "$1" \
    2>"$folder/pip.log" >&2 || { cat "$folder/pip.log" >&2; exit 1; }
  basename "$folder"/taken/*.whl | sed 's/^grafana_foundation_sdk-//; s/-py3.*//'
}

newest='<=1769699998!10.1.0'
for wanted in "$newest" ">=11.6,$newest" '==1769699379!11.6.0'; do
  taken="$(resolve "grafana-foundation-sdk$wanted")"
  echo "grafana-foundation-sdk$wanted: $taken"
  case "$wanted" in
    ==*) test "$taken" = '1769699379!11.6.0' ;;
    *) test "$taken" = '1769699998!10.1.0' ;;
  esac
done
