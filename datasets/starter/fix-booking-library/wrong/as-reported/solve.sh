#!/bin/sh
# wrong: mends what the report names (the changed hour, the touching bookings, the shared and stale lists, the count) and nothing else
set -eu
cd /app/booking
sed -i 's/self.start <= other.end and other.start <= self.end/self.start < other.end and other.start < self.end/' interval.py
sed -i -e 's/start = first + (day - self.first.date())/start = zone.to_moment(datetime.combine(day, self.first.time()))/' \
    -e '/^        first = zone.to_moment(self.first)$/d' -e 's/number > self.count/number >= self.count/' rules.py
cp /solution/booking/calendar.py calendar.py
