#!/bin/sh
# The verdict is the exit code of check.py, and nothing that it prints. What the program wrote here in the meantime goes.
if python3 -I -B /tests/check.py; then verdict=1; else verdict=0; fi
rm -rf /logs/verifier/reward.*
echo "$verdict" >/logs/verifier/reward.txt
