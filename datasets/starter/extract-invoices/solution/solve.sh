#!/bin/sh
set -eu
python3 /solution/extract.py
