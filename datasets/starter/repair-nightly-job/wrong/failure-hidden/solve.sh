#!/bin/sh
# Wrong: says what failed, and ends with status 0 all the same, as the old job did.
set -eu
cd /app/nightly
sed 's/^    exit 1$/    exit 0/' /solution/rotate.sh >rotate.sh
cat /solution/crontab >crontab
chmod 755 rotate.sh
