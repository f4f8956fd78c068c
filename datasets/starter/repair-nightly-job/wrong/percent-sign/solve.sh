#!/bin/sh
# Wrong: passes the date with a bare percent sign, at which the scheduler ends the command.
set -eu
cd /app/nightly
cat /solution/rotate.sh >rotate.sh
sed 's/-n 14/-d $(date +%F) -n 14/' /solution/crontab >crontab
chmod 755 rotate.sh
rm -rf lib
