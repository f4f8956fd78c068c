#!/bin/sh
# The names that archives of sources do not like, links, a pipe, and what the archive's unpacking did to modes.
set -eu
cd /app/orchard
umask 022

mkdir -p bin spool teams/north/drop teams/north/private/drop keys/private/deep/releases/0.9/old

printf '\177ELF\002\001\001 made up, and never run\n' >bin/weigh
printf 'ELF without the first byte\n' >bin/shelf
: >bin/empty
printf '#' >bin/one-byte
printf '#!' >bin/two-bytes
printf 'row,crop\n1,12\n' >'docs/price list 2026.csv'
printf 'draft\n' >'docs/-draft.md'
printf '#!/bin/sh\necho "a name with a line break"\n' >'docs/two
lines'
printf 'caf\351\n' >"$(printf 'docs/caf\351.txt')"
printf 'PORT=8080\n' >teams/north/private/.env
printf 'PORT=8081\n' >teams/south/.env.local
printf 'PORT=\n' >teams/south/.env.example
printf 'PORT=8082\n' >releases/1.0/.env
printf '#!/bin/sh\nexport PORT=8083\n' >tools/.env
printf 'PORT=8084\n' >tools/.envrc
printf 'vault:v1:old\n' >keys/private/deep/releases/0.9/old/vault.bin
printf '#!/bin/sh\necho old\n' >keys/private/deep/releases/0.9/old/run
printf 'plain\n' >keys/private/deep/releases/plain
mkfifo spool/queue keys/private/queue
ln -s ../../library/house-style.md docs/house-style.md
ln -s /app/library docs/library
ln -s guide.md docs/latest
ln -s nowhere-at-all docs/dangling

find . -type d -exec chmod 777 {} +
find . -type f -exec chmod 666 {} +
chmod 755 tools/*.sh docs/*.md
chmod 4755 tools/graft.sh
chmod 2755 tools/count.py
chmod 6711 bin/weigh
chmod 1777 docs teams
chmod 1666 docs/guide.md
chmod 700 teams/north/private/sub
chmod 600 README.md Makefile tools/prune
chmod 0 tools/pick.txt keys/web.txt releases/1.0/install.sh
chmod 0 keys/private/deep/releases/0.9/old/run
chmod 0 keys/private/deep/releases/0.9 keys/private/deep
chmod 400 keys releases/1.0
chmod 666 spool/queue keys/private/queue
chmod 640 ../library/house-style.md
chmod 600 ../library/diary.md
chmod 750 ../library
chmod 1755 .
