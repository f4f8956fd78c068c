#!/bin/sh
if python3 -I /tests/check.py; then verdict=1; else verdict=0; fi
rm -rf /logs/verifier/reward.json /logs/verifier/reward.txt
echo "$verdict" >/logs/verifier/reward.txt
