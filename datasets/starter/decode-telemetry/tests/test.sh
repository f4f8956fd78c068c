#!/bin/sh
# The program that is judged runs meanwhile: these folders are shut to other users, and a verdict that it left is removed.
mkdir -p /logs/verifier
chmod 755 /logs/verifier
chmod 700 /tests
reward=0
if python3 -I -S /tests/check.py; then
    reward=1
fi
rm -rf /logs/verifier/reward.json /logs/verifier/reward.txt
echo "$reward" >/logs/verifier/reward.txt
