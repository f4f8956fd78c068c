#!/bin/sh
# Starts the catalogue and the service in the background; returns when both answer, or says what keeps them from it.
set -eu
cd "$(dirname "$0")/.."
home=$(pwd)

if [ -e var/run/stampd.pid ]; then
    echo "start: var/run/stampd.pid is there (process $(cat var/run/stampd.pid)): stop the service first" >&2
    exit 1
fi
if [ -f etc/stampd.env ]; then
    set -a
    . ./etc/stampd.env
    set +a
fi
PYTHONDONTWRITEBYTECODE=1
STAMPD_HOME="$home"
export PYTHONDONTWRITEBYTECODE STAMPD_HOME

cd lib
nohup python3 -m stampd catalog >>../var/log/catalog.out 2>&1 </dev/null &
catalog=$!
nohup python3 -m stampd serve >>../var/log/stampd.out 2>&1 </dev/null &
service=$!
if python3 -m stampd wait; then
    echo "$catalog $service" >../var/run/stampd.pid
else
    kill "$catalog" "$service" 2>/dev/null || true
    echo "start: given up; see var/log/catalog.out and var/log/stampd.out" >&2
    exit 1
fi
