#!/bin/sh
# wrong: packs the site with the times and owners that the files happen to have
set -eu
cp /solution/Makefile /app/Makefile
cp /solution/tools/needs.py /app/tools/needs.py
sed -i 's/ --mtime=@0 --owner=0 --group=0 --numeric-owner//' /app/Makefile
