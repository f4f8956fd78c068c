#!/bin/sh
# The verdict is the exit code of check.py, and nothing that it prints.
echo 0 >/logs/verifier/reward.txt
if python3 -I -B /tests/check.py; then
    echo 1 >/logs/verifier/reward.txt
fi
