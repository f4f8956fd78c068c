#!/bin/sh
# Wrong: counts money in floats, so that halves and the exact 500 come out a hair off.
set -eu
sed -e 's/Decimal(row\["price"\]\(.*\))))/float(row["price"]\1)))/' \
    -e 's/quarter = Decimal(0)/quarter = 0.0/' -e 's/defaultdict(Decimal)/defaultdict(float)/' \
    -e 's/float(value.quantize(Decimal(unit), ROUND_HALF_UP))/round(float(value), len(unit) - 2)/' /solution/answer.py >/tmp/answer.py
python3 /tmp/answer.py
