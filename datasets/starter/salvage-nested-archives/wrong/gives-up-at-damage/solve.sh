#!/bin/sh
# Reads only the first gzip member of each archive, and a zip without its directory not at all.
set -eu
sed -e 's/start = data.find(GZIP, end)/start = -1/' -e 's/yield from cut_zip_entries(data)/pass/' /solution/salvage.py >/tmp/salvage.py
python3 /tmp/salvage.py
