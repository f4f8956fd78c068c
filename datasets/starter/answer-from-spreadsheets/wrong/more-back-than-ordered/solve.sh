#!/bin/sh
# Wrong: takes off all that came back, even more than was ordered.
set -eu
sed 's/gone = min(\(.*\), quantity)/gone = \1/' /solution/answer.py >/tmp/answer.py
python3 /tmp/answer.py
