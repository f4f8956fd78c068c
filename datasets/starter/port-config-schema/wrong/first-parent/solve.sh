#!/bin/sh
# wrong: lets the service named first win over those named later
set -eu
sed 's/for name in service.extends:/for name in reversed(service.extends):/' /solution/port.py >/app/port.py
