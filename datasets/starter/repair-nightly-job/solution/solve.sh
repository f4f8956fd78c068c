#!/bin/sh
set -eu
cd /app/nightly
cat /solution/rotate.sh >rotate.sh
cat /solution/crontab >crontab
chmod 755 rotate.sh
rm -rf lib
