#!/bin/sh
set -eu
cp /solution/merge.py /app/merge.py
python3 /app/merge.py /app/exports /app/out
