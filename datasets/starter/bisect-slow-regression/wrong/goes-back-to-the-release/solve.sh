#!/bin/sh
# Wrong: brings back the program of the last quick version, and with it loses what came since.
set -eu
. /solution/fix.sh
first_with "number in ids" >/app/culprit.txt
git checkout -q v1.2 -- tally
commit "Go back to the program of version 1.2"
