#!/bin/sh
# Wrong: takes whatever looks like a date and a time, without a look at the calendar and the clock.
set -eu
sed -e 's/        taken = datetime.*/        taken = "{}-{}-{}_{}-{}-{}".format(*(match[group] for group in (1, 3, 4, 5, 6, 7)))/' \
    -e 's/taken.strftime("[^"]*")/taken/' /solution/tidy.py >/tmp/tidy.py
python3 /tmp/tidy.py
