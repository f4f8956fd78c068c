#!/bin/sh
# Wrong: of two rules the one for the nearest folder counts, where both should.
set -eu
cp /solution/check-in /app/check-in
chmod 755 /app/check-in
/app/check-in --all  # the right one first, which is what is left if the edit fails
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/check-in \
    '    if b"releases" in names' '    elif b"releases" in names'
/app/check-in --all
