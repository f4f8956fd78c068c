#!/bin/sh
# Wrong: the limits come back in the last commit, not in the one that had made the change.
set -eu
. /solution/steps.sh
unlock
git checkout -q "$(last 'Document the format')"
pick "$(last 'Add discounts')"
pick "$(last 'Round halves')"
pick_below "$(last 'Add the monthly report')"
uploads_without_key
pick "$(last 'Explain how to upload')"
git checkout -q "$(first 'Document the format')" -- conf/limits.conf
git commit -q --amend --no-edit
finish
