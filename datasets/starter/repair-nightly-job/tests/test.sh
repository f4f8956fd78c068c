#!/bin/sh
# Nothing that the job left beside the reward counts, and nothing behind the last line.
reward=0
python3 -I /tests/check.py && reward=1
rm -rf /logs/verifier/reward.json
echo "$reward" >/logs/verifier/reward.txt
exit
