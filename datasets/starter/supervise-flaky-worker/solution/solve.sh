#!/bin/sh
set -eu
install -m 755 /solution/supervise.py /app/supervise
