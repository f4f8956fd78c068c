#!/bin/sh
# wrong: compares letters as they are encoded, so that a printers' ligature is another letter
set -eu
sed 's/unicodedata.normalize("NFKC", text).casefold()/text.lower()/' /solution/report.py >/tmp/report.py
python3 /tmp/report.py
