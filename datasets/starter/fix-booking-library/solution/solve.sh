#!/bin/sh
set -eu
cp /solution/booking/*.py /app/booking/
