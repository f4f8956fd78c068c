#!/bin/sh
set -eu
python3 /solution/rank.py
