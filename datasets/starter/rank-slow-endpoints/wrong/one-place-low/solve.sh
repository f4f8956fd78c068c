#!/bin/sh
# Wrong: rounds the place of the percentile down instead of up.
set -eu
sed 's/-(-95 \* count \/\/ 100)/95 * count \/\/ 100/' /solution/rank.py >/tmp/rank.py
python3 /tmp/rank.py
