#!/bin/sh
set -eu
cp /solution/port.py /app/port.py
