#!/bin/sh
# Wrong: names of folders above the project count as well.
set -eu
cp /solution/check-in /app/check-in
chmod 755 /app/check-in
/app/check-in --all  # the right one first, which is what is left if the edit fails
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/check-in \
    '    kind = os.lstat(path).st_mode' '    kind, names = os.lstat(path).st_mode, [*PROJECT.split(b"/"), *names]'
/app/check-in --all
