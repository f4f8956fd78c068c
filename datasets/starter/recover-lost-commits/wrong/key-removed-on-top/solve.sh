#!/bin/sh
# Wrong: the key is removed in the last commit, and stays in the history below it.
set -eu
. /solution/steps.sh
unlock
format_with_limits
pick "$(last 'Add discounts')"
pick "$(last 'Round halves')"
pick_below "$(last 'Add the monthly report')"
pick "$(last 'Add upload settings')"
pick "$(last 'Explain how to upload')"
git rm -q deploy/upload.key
git commit -q --amend --no-edit
finish
