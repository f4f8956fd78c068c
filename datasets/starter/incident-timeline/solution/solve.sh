#!/bin/sh
set -eu
python3 /solution/timeline.py
