#!/bin/sh
# Wrong: what follows the dash is one more number, so that pre-releases are higher than their release.
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/plan_index.py \
    'not dash, int' 'bool(dash), int'
