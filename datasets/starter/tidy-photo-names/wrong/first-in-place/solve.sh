#!/bin/sh
# Wrong: a photo that already has a right name keeps it, though another one comes first in the order.
set -eu
sed 's/^    for name in photos:/    for name in sorted(photos, key=lambda name: name != f"{stems[name]}.jpg"):/' /solution/tidy.py >/tmp/tidy.py
python3 /tmp/tidy.py
