#!/bin/sh
# Nothing that the agent wrote is run here: its report is data.
echo 0 >/logs/verifier/reward.txt
if python3 -I /tests/check.py; then
    echo 1 >/logs/verifier/reward.txt
fi
