#!/bin/sh
# Wrong: drops the wrapped rest of a description that stands on the next page.
set -eu
sed 's/for page in text.split("\\f"):/for number, page in enumerate(text.split("\\f")):/; s/elif "Übertrag" not in each/elif (number == 0 or len(lines) > 5) and "Übertrag" not in each/' /solution/extract.py >/tmp/extract.py
python3 /tmp/extract.py
