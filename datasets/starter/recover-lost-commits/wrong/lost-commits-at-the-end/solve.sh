#!/bin/sh
# Wrong: the lost commits are picked onto the end of main, after work that came later.
set -eu
. /solution/steps.sh
unlock
format_with_limits
pick "$(last 'Add the monthly report')"
uploads_without_key
pick "$(last 'Explain how to upload')"
pick_below "$(last 'Add discounts')"
pick "$(last 'Round halves')"
finish
