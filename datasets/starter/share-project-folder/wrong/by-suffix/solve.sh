#!/bin/sh
# Wrong: programs are told by their suffix.
set -eu
cp /solution/check-in /app/check-in
chmod 755 /app/check-in
/app/check-in --all  # the right one first, which is what is left if the edit fails
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/check-in \
    'head[:2] == b"#!" or head[:4] == b"\x7fELF"' 'names[-1].endswith((b".sh", b".py"))'
/app/check-in --all
