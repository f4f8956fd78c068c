#!/bin/sh
# wrong: hands an unset on to heirs, where it removes what another service gives
set -eu
sed -e 's/if value == "!unset":/if value == "!unset" and not above:/' -e 's/for key in keys}/for key in keys if keys[key] != "!unset"}/' /solution/port.py >/app/port.py
