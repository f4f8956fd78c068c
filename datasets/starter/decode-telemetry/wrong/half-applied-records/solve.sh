#!/bin/sh
# Moves the clock before it has seen that the payload is not of its form.
set -eu
mkdir -p /app/out
sed -e 's/channel, step, value = payload.uvarint(), payload.uvarint(), payload.svarint()/channel, step = payload.uvarint(), payload.uvarint(); self.go_on(step); value = payload.svarint(); step = 0/' /solution/decode.py >/app/decode.py
python3 /app/decode.py /app/logs/night.tlm /app/out/night.samples.csv /app/out/night.gaps.csv
