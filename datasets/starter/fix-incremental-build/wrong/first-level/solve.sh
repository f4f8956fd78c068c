#!/bin/sh
# wrong: knows what a page includes, but not what those parts include
set -eu
cp /solution/Makefile /app/Makefile
grep -v '^            needs(file, seen)' /solution/tools/needs.py >/app/tools/needs.py
echo '$(HTML): | $(patsubst data/%.csv,build/parts/%.txt,$(wildcard data/*.csv))' >>/app/Makefile
