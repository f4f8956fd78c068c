#!/bin/sh
# The verdict is the exit code of check.py, and nothing that it prints. A reward that anything else has left here goes.
chmod 700 /tests
chmod 755 /logs/verifier
verdict=0
python3 -I -S -B /tests/check.py && verdict=1
rm -rf /logs/verifier/reward.*
echo "$verdict" >/logs/verifier/reward.txt
exit
