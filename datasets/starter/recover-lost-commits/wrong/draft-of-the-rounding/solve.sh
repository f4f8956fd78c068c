#!/bin/sh
# Wrong: of two dangling commits with one subject, the draft is taken.
set -eu
. /solution/steps.sh
unlock
format_with_limits
pick "$(last 'Add discounts')"
pick "$(first 'Round halves')"
pick_below "$(last 'Add the monthly report')"
uploads_without_key
pick "$(last 'Explain how to upload')"
finish
