#!/bin/sh
set -eu
python3 /solution/mend.py
