#!/bin/sh
# Wrong: rounds with Python's round() of floats, so that halves fall either way.
set -eu
sed 's/return value.quantize(.*/return Decimal(str(round(float(value), 2))).quantize(Decimal("0.01"))/' /solution/extract.py >/tmp/extract.py
python3 /tmp/extract.py
