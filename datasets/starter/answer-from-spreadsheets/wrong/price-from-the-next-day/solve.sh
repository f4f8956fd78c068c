#!/bin/sh
# Wrong: lets a price hold only from the day after its first day.
set -eu
sed 's/entry\[0\] <= day/entry[0] < day/' /solution/answer.py >/tmp/answer.py
python3 /tmp/answer.py
