#!/bin/sh
# wrong: takes every value with a reference in it for a string
set -eu
sed 's/: typed(fill(service, sections, section, key))/: fill(service, sections, section, key) if "$" in keys[key] else typed(keys[key])/' /solution/port.py >/app/port.py
