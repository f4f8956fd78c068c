#!/bin/sh
# Wrong: rounds with format(), which takes the half of 6.25 to the even digit below.
set -eu
sed 's/f"{tenths .*}", p95/f"{100 * errors \/ count:.1f}", p95/' /solution/rank.py >/tmp/rank.py
python3 /tmp/rank.py
