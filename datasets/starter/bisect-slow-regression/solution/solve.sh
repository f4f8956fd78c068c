#!/bin/sh
# A list of ids came where a set had been, and moved on to another file later. A dict is as quick as the set, and keeps the order.
set -eu
. /solution/fix.sh
first_with "number in ids" >/app/culprit.txt
know_by_dict
commit "Look ids up in a dict"
