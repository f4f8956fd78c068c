#!/bin/sh
set -eu
python3 /solution/verify.py
