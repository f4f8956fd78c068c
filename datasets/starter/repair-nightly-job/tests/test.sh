#!/bin/sh
reward=0
python3 -I /tests/check.py && reward=1
echo "$reward" >/logs/verifier/reward.txt
