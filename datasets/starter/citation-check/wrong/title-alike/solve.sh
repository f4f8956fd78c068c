#!/bin/sh
# wrong: takes a made-up reference for the real work whose title its own contains
set -eu
sed 's/source.title == letters(entry\["title"\])/source.title in letters(entry["title"])/' /solution/report.py >/tmp/report.py
python3 /tmp/report.py
