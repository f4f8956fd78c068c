#!/bin/sh
# Wrong: a conflict only counts for packages that are decided after the one that has it.
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/plan.py \
    'other is None or not' 'other is None or other in chosen.values() or not' \
    '    return not any(need.name in chosen and need.holds(chosen[need.name].key) for need in version.conflicts)' \
    '    return True'
