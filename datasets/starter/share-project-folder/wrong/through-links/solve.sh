#!/bin/sh
# Wrong: the modes of what links point to are set as well.
set -eu
cp /solution/check-in /app/check-in
chmod 755 /app/check-in
/app/check-in --all  # the right one first, which is what is left if the edit fails
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/check-in \
    'found = os.lstat(path)' 'found = os.stat(path) if os.path.exists(path) else os.lstat(path)' \
    'kind = os.lstat(path)' 'kind = os.stat(path)'
/app/check-in --all
