#!/bin/sh
# What the agent "oracle" runs: the proof that the task can be solved and that its tests let a solution pass.
set -eu
cd /app
LC_ALL=C sort words.txt | uniq -c | LC_ALL=C sort -k1,1nr -k2 | while read -r count word; do
    echo "$count $word"
done >counts.txt
