#!/bin/sh
# A bare repository with two hooks, and a small server for the folder that one of them fills. What is set in the repository goes before
# the settings of whoever pushes, as whom all of this runs.
set -eu
repo=/srv/git/site.git

mkdir -p /srv/git /srv/www /srv/web
git init -q --bare "$repo"
git --git-dir="$repo" symbolic-ref HEAD refs/heads/main
git --git-dir="$repo" config core.hooksPath "$repo/hooks"
git --git-dir="$repo" config receive.denyDeletes false
git --git-dir="$repo" config receive.denyNonFastForwards false
install -m 755 /solution/update /solution/post-receive "$repo/hooks/"
cp /solution/server.py /srv/web/server.py

cd /srv/web
setsid python3 /srv/web/server.py </dev/null >/srv/web/log 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    if python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8080), 1)' 2>/dev/null; then
        exit 0
    fi
    sleep 0.1
done
cat /srv/web/log >&2
exit 1
