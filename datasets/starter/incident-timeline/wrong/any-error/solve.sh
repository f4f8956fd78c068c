#!/bin/sh
# Wrong: takes every error of the night for one of the incident.
set -eu
sed 's/^    errors = errors\[start.*$//' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
