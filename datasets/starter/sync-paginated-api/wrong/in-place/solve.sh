#!/bin/sh
# Wrong: the mirror is written in place.
set -eu
cp /solution/sync.py /solution/sync_client.py /solution/sync_store.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/sync_store.py \
    'self._path.with_name(self._path.name + ".new")' 'self._path'
