#!/bin/sh
# Wrong: files are made with the right mode, from which the caller's umask then takes.
set -eu
cp /solution/check-in /app/check-in
chmod 755 /app/check-in
/app/check-in --all  # the right one first, which is what is left if the edit fails
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/check-in \
    '    os.umask(0o077)' '    pass' \
    '0o600)' 'mode(source, names))' \
    'os.chmod(target, mode(target, names))' 'pass'
/app/check-in --all
