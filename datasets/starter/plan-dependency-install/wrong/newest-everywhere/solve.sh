#!/bin/sh
# Wrong: packages that nobody has to have are taken in their newest version before it is tried to leave them out.
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
python3 -c 'import sys; path, *edits = sys.argv[1:]; text = open(path).read()
while edits: old, new, *edits = edits; assert text.count(old) == 1, old; text = text.replace(old, new)
open(path, "w").write(text)' /app/plan.py \
    '[None, *versions_of(package, bool(request.get("prereleases")))]' \
    '[*versions_of(package, bool(request.get("prereleases"))), None]' \
    '    return {name: left[0] for name, left in narrowed.items() if left[0] is not None}' \
    '    chosen = {name: left[0] for name, left in narrowed.items() if left[0] is not None}
    reached = {need.name for need in wanted}
    while True:
        active = enabled({name: chosen[name] for name in reached}, wanted)[1]
        if reached == reached | {need.name for need in active}:
            return {name: version for name, version in chosen.items() if name in reached}
        reached |= {need.name for need in active}'
