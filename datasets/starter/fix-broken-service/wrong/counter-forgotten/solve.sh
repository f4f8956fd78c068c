#!/bin/sh
# It starts and answers, but the numbers of new labels run into those that there are.
set -eu
cd /app/stampd
sed -i -e 's/^bind = .*/bind = 127.0.0.1/' -e 's/^port = 8017/port = 8071/' -e 's|^folder = .*|folder = var/spool|' \
    -e 's|/v1/item$|/v1/items|' etc/stampd.ini
sed -i '/^STAMPD_PORT=/d' etc/stampd.env
echo '{"max_body": 8192}' >etc/limits.json
chmod 600 etc/keys/label.key
mkdir -p var/log
rm -f var/run/stampd.pid
sh bin/start.sh
