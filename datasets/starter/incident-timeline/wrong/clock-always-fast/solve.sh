#!/bin/sh
# Wrong: corrects the times of payments below the note too.
set -eu
sed 's/fast if number < step else timedelta()/fast/' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
