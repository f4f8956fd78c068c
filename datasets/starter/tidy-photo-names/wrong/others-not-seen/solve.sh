#!/bin/sh
# Wrong: numbers only the new names among themselves, and writes over a photo that stays.
set -eu
sed 's/taken = set(left)/taken = set()/' /solution/tidy.py >/tmp/tidy.py
python3 /tmp/tidy.py
