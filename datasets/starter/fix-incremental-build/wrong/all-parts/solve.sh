#!/bin/sh
# wrong: lets every page depend on all parts and tables, so that each edit rebuilds them all
set -eu
cp /solution/Makefile /app/Makefile
sed -i -e '/needs.py/d' -e 's|^\$(foreach pair.*|$(HTML): $(wildcard parts/*.txt) $(patsubst data/%.csv,build/parts/%.txt,$(wildcard data/*.csv))|' /app/Makefile
