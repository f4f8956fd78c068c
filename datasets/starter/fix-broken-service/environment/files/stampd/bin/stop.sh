#!/bin/sh
# Ends what start.sh started.
set -eu
cd "$(dirname "$0")/.."

if [ ! -e var/run/stampd.pid ]; then
    echo "stop: var/run/stampd.pid is not there" >&2
    exit 1
fi
for pid in $(cat var/run/stampd.pid); do
    kill "$pid" 2>/dev/null || true
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
done
rm var/run/stampd.pid
