#!/bin/sh
# Wrong: lets the first line of a path count, not the later one.
set -eu
sed 's/listed\[path\] = (\(.*\)).lower()/listed.setdefault(path, (\1).lower())/' /solution/verify.py >/tmp/verify.py
python3 /tmp/verify.py
