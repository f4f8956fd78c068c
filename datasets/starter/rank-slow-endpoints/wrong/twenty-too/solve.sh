#!/bin/sh
# Wrong: takes endpoints with exactly 20 requests in.
set -eu
sed 's/count > MORE_THAN/count >= MORE_THAN/' /solution/rank.py >/tmp/rank.py
python3 /tmp/rank.py
