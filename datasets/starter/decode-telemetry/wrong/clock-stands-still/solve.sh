#!/bin/sh
# A series of a channel without a last value does not move the clock.
set -eu
mkdir -p /app/out
sed -e 's/^        for place, change in enumerate(changes):/        for place, change in enumerate(changes if channel in self.last else []):/' /solution/decode.py >/app/decode.py
python3 /app/decode.py /app/logs/night.tlm /app/out/night.samples.csv /app/out/night.gaps.csv
