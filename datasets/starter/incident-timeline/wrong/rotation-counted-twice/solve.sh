#!/bin/sh
# Wrong: joins the two parts of the edge log without dropping the lines that stand in both.
set -eu
sed 's/if line not in seen//' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
