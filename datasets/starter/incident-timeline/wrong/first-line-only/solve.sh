#!/bin/sh
# Wrong: reads the first line of each checkout record alone, so that ids in stack traces are missed.
set -eu
sed 's/, record)$/, record.splitlines()[0])/' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
