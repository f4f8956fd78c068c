#!/bin/sh
# Wrong: what was deleted is remembered in one run only, and a late entry brings it back in the next.
set -eu
cp /solution/sync.py /solution/sync_client.py /solution/sync_store.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/sync_store.py \
    '"deleted": self.deleted,' ''
