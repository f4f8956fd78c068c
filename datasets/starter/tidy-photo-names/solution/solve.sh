#!/bin/sh
set -eu
python3 /solution/tidy.py
