#!/bin/sh
echo 0 >/logs/verifier/reward.txt
if python3 -I /tests/check.py; then
    echo 1 >/logs/verifier/reward.txt
fi
