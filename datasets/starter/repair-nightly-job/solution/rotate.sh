#!/bin/sh
# Packs the reports of the day and keeps DAILY days and WEEKLY weeks of them. See README.md.
set -u

usage() {
    echo "rotate.sh: $1; usage: rotate.sh [-d DATE] [-n DAILY] [-w WEEKLY] REPORTS ARCHIVE" >&2
    exit 64
}

fail() {
    echo "rotate.sh: $1" >&2
    exit 1
}

number() {
    case $1 in
    *[!0-9]* | '' | ??????????*) return 1 ;;
    esac
    [ "$1" -ge 1 ]
}

DATE=$(date +%Y-%m-%d)
DAILY=7
WEEKLY=4
while getopts d:n:w: option; do
    case $option in
    d) DATE=$OPTARG ;;
    n) DAILY=$OPTARG ;;
    w) WEEKLY=$OPTARG ;;
    *) usage "unknown option" ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || usage "two folders are needed"
REPORTS=$1
ARCHIVE=$2
case $DATE in
[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]) ;;
*) usage "not a date: $DATE" ;;
esac
parts=$(date -u -d "$DATE" '+%Y-%m-%d %u %G-W%V' 2>/dev/null)
[ "${parts%% *}" = "$DATE" ] || usage "no such date: $DATE"
week=${parts##* }
weekday=${parts#* }
weekday=${weekday% *}
number "$DAILY" || usage "not a number: $DAILY"
number "$WEEKLY" || usage "not a number: $WEEKLY"
for folder in "$REPORTS" "$ARCHIVE"; do
    case $folder in
    /*) ;;
    *) usage "not an absolute path: $folder" ;;
    esac
done

[ -d "$REPORTS" ] || fail "no such folder: $REPORTS"
mkdir -p "$ARCHIVE/daily" "$ARCHIVE/weekly" || fail "cannot make $ARCHIVE"

# The kernel lets go of the lock when the process ends, however it ends.
exec 9>"$ARCHIVE/.lock" || fail "cannot lock $ARCHIVE"
flock -n 9 || {
    echo "rotate.sh: another run is going on for $ARCHIVE" >&2
    exit 75
}
rm -rf "$ARCHIVE"/.work.* || fail "cannot clear away what a killed run left"
work=$(mktemp -d "$ARCHIVE/.work.XXXXXX") || fail "cannot write to $ARCHIVE"
trap 'rm -rf "$work"' EXIT

daily=$ARCHIVE/daily/reports-$DATE.tar.gz
cd "$REPORTS" || fail "cannot enter $REPORTS"
find . -mindepth 1 -maxdepth 1 -type f ! -name '.*' -print0 >"$work/names" || fail "cannot list $REPORTS"
if [ -s "$work/names" ]; then
    mkdir "$work/files" || fail "cannot write to $ARCHIVE"
    if [ -e "$daily" ]; then
        tar -xzf "$daily" -C "$work/files" || fail "cannot read $daily"
    fi
    xargs -0 cp -p -t "$work/files" -- <"$work/names" || fail "cannot copy the reports"
    (cd "$work/files" && find . -mindepth 1 -maxdepth 1 -print0) >"$work/all" || fail "cannot list the reports"
    sed -z 's,^\./,,' "$work/all" >"$work/plain" || fail "cannot list the reports"
    tar -cf "$work/tar" -C "$work/files" --null --verbatim-files-from -T "$work/plain" || fail "cannot pack the reports"
    gzip -c "$work/tar" >"$work/archive" || fail "cannot pack the reports"
    sync "$work/archive" || fail "cannot write to $ARCHIVE"
    mv -f "$work/archive" "$daily" || fail "cannot write $daily"
fi

# Saturdays are kept as weeks.
if [ "$weekday" = 6 ] && [ -e "$daily" ]; then
    weekly=$ARCHIVE/weekly/reports-$week.tar.gz
    cp "$daily" "$work/week" || fail "cannot copy $daily"
    mv -f "$work/week" "$weekly" || fail "cannot write $weekly"
fi

oldest=$(date -u -d "$DATE - $((DAILY - 1)) days" +%Y%m%d 2>/dev/null) || oldest=0
for file in "$ARCHIVE"/daily/reports-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].tar.gz; do
    [ -f "$file" ] || continue
    day=${file##*/reports-}
    day=${day%.tar.gz}
    month=${day#*-}
    [ "${day%%-*}${month%-*}${month#*-}" -lt "$oldest" ] || continue
    [ "$(date -u -d "$day" +%Y-%m-%d 2>/dev/null)" = "$day" ] || continue
    rm -f "$file" || fail "cannot remove $file"
done
cd "$ARCHIVE/weekly" || fail "cannot enter $ARCHIVE/weekly"
for file in reports-[0-9][0-9][0-9][0-9]-W[0-5][0-9].tar.gz; do
    [ -f "$file" ] && echo "$file"
done | sort -r | sed "1,${WEEKLY}d" | while read -r file; do
    rm -f "$file" || exit 1
done || fail "cannot remove old weeks"

# The reports go last, so that they are still there if anything failed.
if [ -s "$work/names" ]; then
    cd "$REPORTS" || fail "cannot enter $REPORTS"
    xargs -0 rm -f -- <"$work/names" || fail "cannot remove the reports"
fi
