#!/bin/sh
# Wrong: moves the changed files without the folders that they were in.
set -eu
sed 's/target = QUARANTINE \/ path/target = QUARANTINE \/ present[path].name/' /solution/verify.py >/tmp/verify.py
python3 /tmp/verify.py
