#!/bin/sh
# wrong: cuts what looks like a comment off the values
set -eu
sed 's/            section\[key\] = value$/            section[key] = re.split(r"\\s[#;]", value)[0]/' /solution/port.py >/app/port.py
