# A worker to try things with: fails four times, leaves something behind each time, and then works.
echo x >>"$1"
runs=$(grep -c x "$1")
echo "run $runs"
sleep 30 &
[ "$runs" -gt 4 ] || exit "$runs"
rm "$1"
