#!/bin/sh
# Wrong: the first choice for a package that looks possible is never taken back.
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/plan.py \
    'for choice in narrowed[name]:' 'for choice in narrowed[name][:1]:'
