#!/bin/sh
# Wrong: the features that are asked for count, but what they need in turn does not.
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/plan.py \
    'if need.name in chosen:' 'if need.name in chosen and need in wanted:'
