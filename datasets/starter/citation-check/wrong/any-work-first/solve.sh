#!/bin/sh
# wrong: looks for a quotation in all works in their order, so that a work that quotes another one is taken for its origin
set -eu
sed 's/    here = places(work, quotation) if work else \[\]/    first = next((one for one in sources if places(one, quotation)), work)\
    here = places(work, quotation) if first is work and work else []/' /solution/report.py >/tmp/report.py
python3 /tmp/report.py
