#!/bin/sh
# Wrong: the counts keep the blanks that uniq puts before them.
set -eu
cd /app
LC_ALL=C sort words.txt | uniq -c | LC_ALL=C sort -k1,1nr -k2 >counts.txt
