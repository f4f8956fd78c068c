#!/bin/sh
# Wrong: a steady run does not begin a new row of restarts.
set -eu
sed 's/^            if time.monotonic() - begun >= .*/            if not begun:/' /solution/supervise.py >/app/supervise
chmod 755 /app/supervise
