#!/bin/sh
# Wrong: runs in the nights from Sunday to Friday, before the working days.
set -eu
cd /app/nightly
cat /solution/rotate.sh >rotate.sh
sed 's/2-6/1-5/' /solution/crontab >crontab
chmod 755 rotate.sh
rm -rf lib
