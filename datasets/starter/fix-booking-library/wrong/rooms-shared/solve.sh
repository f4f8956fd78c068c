#!/bin/sh
# wrong: gives up the shared default, but still books into the rooms that it was handed
set -eu
cp /solution/booking/*.py /app/booking/
sed -i 's/{room: dict(rules) for room, rules in (rooms or {}).items()}/{} if rooms is None else rooms/' /app/booking/calendar.py
