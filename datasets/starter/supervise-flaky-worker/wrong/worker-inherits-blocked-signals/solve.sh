#!/bin/sh
# Wrong: the worker is started with the signals blocked that the supervisor waits for.
set -eu
sed '/^                setsigmask=/d' /solution/supervise.py >/app/supervise
chmod 755 /app/supervise
