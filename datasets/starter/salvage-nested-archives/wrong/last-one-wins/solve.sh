#!/bin/sh
# Lets later copies overwrite earlier ones, in the order of the archives, whatever their times.
set -eu
sed 's/order = (item\["mtime"\], archive.encode(), len(rows))/order = (len(rows),)/' /solution/salvage.py >/tmp/salvage.py
python3 /tmp/salvage.py
