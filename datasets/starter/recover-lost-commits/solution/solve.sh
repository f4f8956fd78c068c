#!/bin/sh
# Finds all versions of all commits in the object database, and picks them anew from the first that was damaged.
set -eu
. /solution/steps.sh
unlock
format_with_limits
pick "$(last 'Add discounts')"
pick "$(last 'Round halves')"
pick_below "$(last 'Add the monthly report')"
uploads_without_key
pick "$(last 'Explain how to upload')"
finish
