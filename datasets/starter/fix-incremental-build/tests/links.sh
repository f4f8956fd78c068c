#!/bin/sh
# links.sh FOLDER: name every link between pages that leads nowhere; fail if there is any.
status=0
for page in "$1"/*.html; do
    for target in $(grep -o 'href="[^"]*"' "$page" | sed 's/^href="//; s/"$//'); do
        if [ ! -f "$1/$target" ]; then
            echo "$page: no $target" >&2
            status=1
        fi
    done
done
exit $status
