#!/bin/sh
# Takes the empty text of the CRM for not known, like the empty fields of the other exports.
set -eu
sed 's/value = "" if source == "crm" and field != "updated" else None/value = None/' /solution/merge.py >/app/merge.py
python3 /app/merge.py /app/exports /app/out
