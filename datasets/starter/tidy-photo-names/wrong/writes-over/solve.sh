#!/bin/sh
# Wrong: renames one after the other in one step, so that a photo whose old name is another's new one is lost.
set -eu
sed -e 's/(PHOTOS \/ old).rename(PHOTOS \/ f".moving {new}")/(PHOTOS \/ old).rename(PHOTOS \/ new)/' \
    -e 's/^    for _, new in moves:/    for _, new in []:/' /solution/tidy.py >/tmp/tidy.py
python3 /tmp/tidy.py
