#!/bin/sh
# Wrong: writes the archive under its final name from the start, so that a kill leaves half of it.
set -eu
cd /app/nightly
sed 's,>"$work/archive" ||,>"$daily" ||,; /sync /d; /mv -f "$work.archive/d' /solution/rotate.sh >rotate.sh
cat /solution/crontab >crontab
chmod 755 rotate.sh
rm -rf lib
