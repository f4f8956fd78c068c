#!/bin/sh
# Nothing that the agent wrote is run here: its report is data. -S: no sitecustomize either.
reward=0
if python3 -I -S /tests/check.py; then
    reward=1
fi
echo "$reward" >/logs/verifier/reward.txt
