#!/bin/sh
# Wrong: which records a new feed named is forgotten by a run that is interrupted; what is gone stays for good.
set -eu
cp /solution/sync.py /solution/sync_client.py /solution/sync_store.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/sync_store.py \
    '"named": None if self.named is None else sorted(self.named),' ''
