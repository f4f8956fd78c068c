#!/bin/sh
# What the agent "oracle" runs: the proof that the task can be solved and that its tests let a solution pass.
# The other files of this folder are beside it, at /solution.
set -eu
cp /solution/total.py /app/total.py
