#!/bin/sh
# Wrong: takes one of the commits that cost a little for the cause, and mends only that.
set -eu
. /solution/fix.sh
first_with "part.strip()" >/app/culprit.txt
sed -i 's/DATE.fullmatch(date)/date[:4].isdigit() or not DATE.fullmatch(date)/' tally/read.py
commit "Look at dates more quickly"
