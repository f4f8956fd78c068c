#!/bin/sh
# wrong: takes the offset of the wall time read as UTC, which is another one in the hours around a change of the clock
set -eu
cp /solution/booking/*.py /app/booking/
sed -i 's/^        moments = \[aware.*/        return aware - self.offset_at(aware - self.offset_at(aware))/' /app/booking/zones.py
