#!/bin/sh
# Wrong: reads Harbor's dates with the day first.
set -eu
sed 's#%m/%d/%Y#%d/%m/%Y#' /solution/extract.py >/tmp/extract.py
python3 /tmp/extract.py
