#!/bin/sh
# Wrong: blames the commit that git blame shows for the slow line, which only moved it.
set -eu
. /solution/fix.sh
git log -1 --format=%H -S"number in self.known" -- tally >/app/culprit.txt
know_by_dict
commit "Look ids up in a dict"
