#!/bin/sh
set -eu
python3 /solution/report.py
