#!/bin/sh
# Wrong: folds the numbers in paths and forgets the UUIDs.
set -eu
sed 's/^IDENTITY = .*/IDENTITY = re.compile("[0-9]+")/' /solution/rank.py >/tmp/rank.py
python3 /tmp/rank.py
