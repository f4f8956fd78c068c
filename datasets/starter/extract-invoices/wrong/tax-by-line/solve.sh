#!/bin/sh
# Wrong: rounds the tax of each line instead of that of each rate in a document.
set -eu
sed 's/^        tax = .*/        tax = sum(cents(each["amount"] * each["rate"] \/ 100) for each in lines)/' /solution/extract.py >/tmp/extract.py
python3 /tmp/extract.py
