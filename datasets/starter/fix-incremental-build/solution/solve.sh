#!/bin/sh
set -eu
cp /solution/Makefile /app/Makefile
cp /solution/tools/needs.py /app/tools/needs.py
