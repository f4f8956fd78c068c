# Days between two dates, good enough for us: days_between 2026-01-31 2026-02-02
days_between() {
    from=$(echo "$1" | sed 's/-0*/ /g')
    to=$(echo "$2" | sed 's/-0*/ /g')
    set -- $from $to
    echo $((($4 - $1) * 365 + ($5 - $2) * 30 + $6 - $3))
}
