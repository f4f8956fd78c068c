#!/bin/sh
reward=0
if python3 -I -S /tests/check.py; then
    reward=1
fi
mkdir -p /logs/verifier
echo "$reward" >/logs/verifier/reward.txt
