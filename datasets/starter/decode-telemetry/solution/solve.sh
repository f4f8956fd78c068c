#!/bin/sh
set -eu
cp /solution/decode.py /app/decode.py
mkdir -p /app/out
python3 /app/decode.py /app/logs/night.tlm /app/out/night.samples.csv /app/out/night.gaps.csv
