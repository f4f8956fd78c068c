#!/bin/sh
# Bound to every address, because "it did not listen".
set -eu
cd /app/stampd
sed -i -e 's/^bind = .*/bind = 0.0.0.0/' -e 's/^port = 8017/port = 8071/' -e 's|^folder = .*|folder = var/spool|' \
    -e 's|/v1/item$|/v1/items|' etc/stampd.ini
sed -i '/^STAMPD_PORT=/d' etc/stampd.env
echo '{"max_body": 8192}' >etc/limits.json
chmod 600 etc/keys/label.key
mkdir -p var/log
rm -f var/run/stampd.pid
echo 42 >var/spool/next-id
sh bin/start.sh
