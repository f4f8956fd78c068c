#!/bin/sh
# Wrong: sleeps through the delay, and looks only afterwards whether it was told to end.
set -eu
sed 's/^        deadline = time.monotonic() + seconds$/        time.sleep(seconds)\n        deadline = time.monotonic()/' \
    /solution/supervise.py >/app/supervise
chmod 755 /app/supervise
