#!/bin/sh
# Wrong: the rule for e-mail repeats a repeat: right on short lines, for ever on a long one.
set -eu
sed 's/^\(email\t[^)]*)\)\[A-Za-z0-9\]\[A-Za-z0-9._%+-\]\*@/\1(?:[A-Za-z0-9]+[._%+-]*)+@/' /solution/redact.rules >/app/redact.rules
