#!/bin/sh
# Wrong: counts cancelled lines as if they were sold.
set -eu
sed 's/== "cancelled"/== "void"/' /solution/answer.py >/tmp/answer.py
python3 /tmp/answer.py
