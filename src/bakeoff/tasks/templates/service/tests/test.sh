#!/bin/sh
# Runs when the agent has ended; until then, nothing in this folder exists for the agent. What the task names in live = […]
# is still running, on the same loopback and file system; it sees neither this folder nor /logs/verifier.
# The number in reward.txt is the verdict. 1 passes; the exit code of this script means nothing.
#
# -I keeps Python from importing what lies in the working folder. Whatever goes wrong in check.py, the reward is 0.
reward=0
if python3 -I /tests/check.py; then
    reward=1
fi
echo "$reward" >/logs/verifier/reward.txt
