#!/bin/sh
# Packs the reports of the day and keeps DAILY days and WEEKLY weeks of them. See README.md.
. ./lib/settings.sh
. ./lib/dates.sh

DATE=$(date +%Y-%m-%d)
while getopts d:n:w: option; do
    case $option in
    d) DATE=$OPTARG ;;
    n) DAILY=$OPTARG ;;
    w) WEEKLY=$OPTARG ;;
    esac
done
shift $((OPTIND - 1))
REPORTS=$1
ARCHIVE=$2

# one run at a time
if [ -e $LOCK ]; then
    echo "rotate.sh is running already"
    exit 0
fi
touch $LOCK

mkdir -p $ARCHIVE/daily $ARCHIVE/weekly
cd $REPORTS
tar -c * | gzip >$ARCHIVE/daily/reports-$DATE.tar.gz
rm -f $REPORTS/*

# Saturdays are kept as weeks
if [ "$(date -d $DATE +%w)" = 7 ]; then
    cp $ARCHIVE/daily/reports-$DATE.tar.gz $ARCHIVE/weekly/reports-$(date -d $DATE +%Y-W%V).tar.gz
fi

for file in $(ls $ARCHIVE/daily); do
    day=$(echo $file | sed 's/reports-//; s/.tar.gz//')
    if [ $(days_between $day $DATE) -gt $DAILY ]; then
        rm $ARCHIVE/daily/$file
    fi
done
for file in $(ls -t $ARCHIVE/weekly | tail -n $WEEKLY); do
    rm $ARCHIVE/weekly/$file
done

rm -f $LOCK
echo "rotated $DATE"
