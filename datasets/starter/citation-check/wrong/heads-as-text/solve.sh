#!/bin/sh
# wrong: takes running heads and footnotes for running text, so that passages over two pages are not found
set -eu
sed -e 's/body = lines\[1:-1\]/body = lines[:-1]/' -e '/if "-----" in body/,+1d' /solution/report.py >/tmp/report.py
python3 /tmp/report.py
