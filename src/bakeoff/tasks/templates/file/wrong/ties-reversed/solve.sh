#!/bin/sh
# Wrong: the numeric sort is turned round as a whole, and with it the words that occur equally often.
set -eu
cd /app
LC_ALL=C sort words.txt | uniq -c | LC_ALL=C sort -rn | while read -r count word; do
    echo "$count $word"
done >counts.txt
