#!/bin/sh
set -eu
sh /solution/site.sh
