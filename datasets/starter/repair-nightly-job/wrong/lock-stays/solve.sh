#!/bin/sh
# Wrong: the lock is a folder, which a killed run leaves behind for ever.
set -eu
cd /app/nightly
sed 's,^flock -n 9 ,mkdir "$ARCHIVE/.running" 2>/dev/null ,; s,^trap .*,trap "rm -rf \\"$work\\" \\"$ARCHIVE/.running\\"" EXIT,' /solution/rotate.sh >rotate.sh
cat /solution/crontab >crontab
chmod 755 rotate.sh
rm -rf lib
