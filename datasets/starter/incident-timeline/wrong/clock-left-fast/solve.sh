#!/bin/sh
# Wrong: leaves the times of payments as they stand, so that another deployment seems to have begun it.
set -eu
sed 's/fast if number < step else timedelta()/timedelta()/' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
