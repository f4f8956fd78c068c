#!/bin/sh
set -eu
python3 /solution/salvage.py
