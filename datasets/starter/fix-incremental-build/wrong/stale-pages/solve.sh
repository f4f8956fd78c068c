#!/bin/sh
# wrong: takes a removed page out of the navigation and the tar, but leaves its file in the site
set -eu
cp /solution/Makefile /app/Makefile
cp /solution/tools/needs.py /app/tools/needs.py
sed -i '/for page in/,/done/d' /app/Makefile
