#!/bin/sh
# The files whose names archives of sources do not like.
set -eu
cd /app/downloads
umask 022
mkdir -p lists
echo 'the name begins with a space' >' leading space.txt'
echo 'notes of 2024' >'notes\2024.txt'
echo 'notes of 2025, and a later word' >'notes\2025.txt'
echo 'new to share' >'share\new.txt'
echo 'nine to share' >'share\nine.txt'
echo 'list on two lines, changed' >'lists/two
lines.txt'
echo 'one more list' >'lists/one
more.txt'
