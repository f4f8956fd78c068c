#!/bin/sh
# Makes /app/tally from the history that was laid beside it.
set -eu
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent
mkdir /app/tally
cd /app/tally
git init -q .
git symbolic-ref HEAD refs/heads/main
git fast-import --quiet <../history.fi
git reset -q --hard main
rm -rf ../history.fi .git/hooks .git/ORIG_HEAD .git/logs
