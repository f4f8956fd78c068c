#!/bin/sh
set -eu
python3 /solution/answer.py
