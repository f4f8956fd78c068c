#!/bin/sh
set -eu
cp /solution/plan.py /solution/plan_index.py /app/
