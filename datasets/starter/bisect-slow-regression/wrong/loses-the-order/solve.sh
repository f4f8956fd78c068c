#!/bin/sh
# Wrong: a set is quick, and does not keep the order in which --ids lists them.
set -eu
. /solution/fix.sh
first_with "number in ids" >/app/culprit.txt
sed -i -e 's/self.known = \[\]/self.known = set()/' -e 's/self.known.append(number)/self.known.add(number)/' tally/once.py
commit "Look ids up in a set"
