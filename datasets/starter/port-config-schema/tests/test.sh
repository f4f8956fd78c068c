#!/bin/sh
# -S: no sitecustomize. What the agent's code left among the verdicts counts for nothing.
reward=0
if python3 -I -S /tests/check.py; then
    reward=1
fi
rm -rf /logs/verifier/reward.txt /logs/verifier/reward.json
echo "$reward" >/logs/verifier/reward.txt
