#!/bin/sh
# Wrong: counts the probes of the load balancer as requests.
set -eu
sed 's/if path != .*:$/if path:/' /solution/timeline.py >/tmp/timeline.py
python3 /tmp/timeline.py
