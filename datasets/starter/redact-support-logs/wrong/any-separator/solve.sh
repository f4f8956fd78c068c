#!/bin/sh
# Wrong: each separator of a card number may be another one, and what stands around the number is not looked at.
set -eu
printf 'card\t\\b[45][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?([0-9]{4})\\b\t<card-\\1>\n' >/tmp/card
{ cat /tmp/card; grep -v '^card	' /solution/redact.rules; } >/app/redact.rules
