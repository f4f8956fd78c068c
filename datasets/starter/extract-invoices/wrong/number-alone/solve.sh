#!/bin/sh
# Wrong: takes documents of different suppliers with the same number for duplicates.
set -eu
sed 's/key = reader.__name__, read\[0\]/key = next((k for k in documents if k[1] == read[0]), (reader.__name__, read[0]))/' /solution/extract.py >/tmp/extract.py
python3 /tmp/extract.py
