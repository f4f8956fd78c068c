#!/bin/sh
# What the move did to modes and folders.
set -eu
cd /app/stampd
chmod 755 bin lib lib/stampd etc share var var/spool var/run
chmod 755 bin/start.sh bin/stop.sh
chmod 755 etc/keys
chmod 644 etc/keys/label.key
rm -rf var/log
