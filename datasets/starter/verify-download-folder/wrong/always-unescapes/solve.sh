#!/bin/sh
# Wrong: undoes escapes in every line, with a backslash in front or without.
set -eu
sed 's/if match\[1\]:/if True:/' /solution/verify.py >/tmp/verify.py
python3 /tmp/verify.py
