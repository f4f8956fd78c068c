#!/bin/sh
if python3 -I /tests/check.py; then verdict=1; else verdict=0; fi
echo "$verdict" >/logs/verifier/reward.txt
