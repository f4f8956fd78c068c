#!/bin/sh
# Removes duplicates with their postings even where the survivor has none and should have taken them over.
set -eu
mkdir -p /tmp/mend
cp /solution/mend.py /tmp/mend/
sed 's/row_number() OVER (PARTITION BY survivor ORDER BY place) AS turn FROM ranked WHERE has_postings/place AS turn FROM ranked/' /solution/mend.sql >/tmp/mend/mend.sql
python3 /tmp/mend/mend.py
