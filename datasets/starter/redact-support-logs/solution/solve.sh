#!/bin/sh
set -eu
cp /solution/redact.rules /app/redact.rules
