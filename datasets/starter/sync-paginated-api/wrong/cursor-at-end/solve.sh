#!/bin/sh
# Wrong: nothing is stored before the end of the feed.
set -eu
cp /solution/sync.py /solution/sync_client.py /solution/sync_store.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/sync.py \
    'store.reached_end()
        store.save()' \
    'store.reached_end()
            store.save()'
