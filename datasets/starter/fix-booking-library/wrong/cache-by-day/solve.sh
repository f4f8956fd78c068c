#!/bin/sh
# wrong: empties the cache on every change, but two rooms still share the entry of a day
set -eu
cp /solution/booking/*.py /app/booking/
sed -i 's/key = (room, day)/key = ("", day)/' /app/booking/calendar.py
