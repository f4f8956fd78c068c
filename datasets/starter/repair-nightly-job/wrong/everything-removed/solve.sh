#!/bin/sh
# Wrong: removes all reports that are in the folder at the end, and so those which came during the run.
set -eu
cd /app/nightly
sed 's/xargs -0 rm -f -- <"$work\/names"/find . -mindepth 1 -maxdepth 1 -type f ! -name ".*" -delete/' /solution/rotate.sh >rotate.sh
cat /solution/crontab >crontab
chmod 755 rotate.sh
