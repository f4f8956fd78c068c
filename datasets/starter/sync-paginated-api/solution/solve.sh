#!/bin/sh
set -eu
cp /solution/sync.py /solution/sync_client.py /solution/sync_store.py /app/
