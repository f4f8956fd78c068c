#!/bin/sh
# Makes /app/pricelist, and then damages it. Everything in it has fixed names and dates, so all ids are the same everywhere.
set -eu
umask 022
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME=/nonexistent LC_ALL=C

mkdir /app/pricelist
cd /app/pricelist
git init -q .
git symbolic-ref HEAD refs/heads/main
git config gc.auto 0
rm -rf .git/hooks

# by NAME ADDRESS AUTHORED [COMMITTED]: who makes the commits that follow, and when.
by() {
    export GIT_AUTHOR_NAME="$1" GIT_AUTHOR_EMAIL="$2" GIT_AUTHOR_DATE="$3"
    export GIT_COMMITTER_NAME="$1" GIT_COMMITTER_EMAIL="$2" GIT_COMMITTER_DATE="${4:-$3}"
}
mira() { by "Mira Holt" mira@example.org "$@"; }
jonas() { by "Jonas Beck" jonas@example.org "$@"; }
priya() { by "Priya Raman" priya@example.org "$@"; }
tomas() { by "Tomás Lind" tomas@example.org "$@"; }
record() { git add -A && git commit -q "$@"; }
change() { # newest first
    { echo "- $1" && cat CHANGES 2>/dev/null; } >CHANGES.new || true
    mv CHANGES.new CHANGES
}

# 1
mira "2025-03-03T09:12:40+0100"
cat >README.md <<'F'
# Price list

Prices of the harbour shop, and what is made of them.
F
printf 'article,price\nrope 10m,12.50\nanchor small,48.00\nlantern,19.95\nfender,22.25\n' >prices.csv
change "The price list begins"
record -m "Start the price list"

# 2
jonas "2025-03-05T16:30:02+0100"
mkdir src conf
cat >src/prices.py <<'F'
"""Reads price lists."""

import csv


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["article"]: float(row["price"]) for row in csv.DictReader(file)}
F
printf '# limits of one order\nmax_items = 40\nmax_weight = 20\n' >conf/limits.conf
change "A parser for price lists, and limits for orders"
record -m "Add the parser"

# 3
mira "2025-03-06T11:05:59+0100"
cat >src/rounding.py <<'F'
"""Rounds amounts to what can be paid in coins."""


def to_coins(amount):
    return int(amount * 20 + 0.5) / 20
F
change "Amounts are rounded to 5 cents"
record -m "Add rounding rules"
git tag v1.0
third=$(git rev-parse HEAD)

# The other branch
tomas "2025-03-10T08:00:11+0100"
git checkout -q -b release/1.0
sed 's/what is made of them/what comes of them/' README.md >README.new && mv README.new README.md
record -m "Say it better in the README"
git checkout -q main

# An experiment that nobody kept
tomas "2025-03-11T20:41:00+0100"
git checkout -q --detach
printf 'PL\001\002 rope anchor\n' >prices.bin
change "Price lists in a binary format"
record -m "Try a binary format"
git checkout -q main

# 4, and then its amended version, which loses the limits
jonas "2025-03-12T10:20:30+0100"
mkdir docs
cat >docs/format.md <<'F'
# Format

Columns: article, price. Price is in euro.
F
printf '# limits of one order\nmax_items = 60\nmax_weight = 35\nmax_total = 2500\n' >conf/limits.conf
change "The format is documented"
record -m "Document the format"
jonas "2025-03-12T10:20:30+0100" "2025-03-12T17:02:10+0100"
cat >docs/format.md <<'F'
# The format of price lists

- `article`: the name, as it stands on the shelf
- `price`: in euro, with a point and two digits
F
git checkout -q "$third" -- conf/limits.conf
record --amend -m "Document the format of price lists

With one line for each column."
fourth=$(git rev-parse HEAD)

# 5 and 6, the second of them in two versions
priya "2025-03-14T09:47:13+0530"
cat >src/discounts.py <<'F'
"""Discounts by number of pieces."""

STEPS = ((10, 0.05), (25, 0.08), (50, 0.12))


def discount(pieces):
    return max((rate for least, rate in STEPS if pieces >= least), default=0.0)
F
printf 'article,price\nrope 10m,12.50\nrope 50m,54.00\nanchor small,48.00\nlantern,19.95\nfender,22.25\n' >prices.csv
change "Discounts from 10 pieces on"
record -m "Add discounts"

priya "2025-03-14T15:31:48+0530"
cat >src/rounding.py <<'F'
"""Rounds amounts to what can be paid in coins."""


def to_coins(amount):
    return round(amount * 20) / 20
F
change "Halves are rounded to even"
record -m "Round halves to even"
priya "2025-03-14T15:31:48+0530" "2025-03-14T18:03:27+0530"
cat >src/rounding.py <<'F'
"""Rounds amounts to what can be paid in coins."""

from decimal import ROUND_HALF_EVEN, Decimal


def to_coins(amount):
    coins = (Decimal(str(amount)) * 20).quantize(Decimal(1), ROUND_HALF_EVEN)
    return float(coins / 20)
F
record --amend -m "Round halves to even

Floats cannot tell what a half is, decimals can."

# The reset that went too far, and what was made after it
git reset -q --hard "$fourth"

# 7
jonas "2025-03-17T14:00:00+0100"
mkdir bin
cat >bin/report <<'F'
#!/bin/sh
# The monthly report: how many articles, and the dearest of them.
tail -n +2 prices.csv | wc -l
tail -n +2 prices.csv | sort -t, -k2,2nr | head -n 1
F
chmod 755 bin/report
change "A monthly report"
record -m "Add the monthly report"
cp .git/index .git/stale

# 8, with a file that should not be there
tomas "2025-03-18T09:09:09+0100"
mkdir deploy
printf 'host = upload.example.org\npath = /incoming/prices\nkey = deploy/upload.key\n' >deploy/upload.conf
printf -- '-----BEGIN UPLOAD KEY-----\n5rJ0pQ2mXw8vT1cL7sB4yN6dK3hF9gZa\n-----END UPLOAD KEY-----\n' >deploy/upload.key
change "Settings for uploads"
record -m "Add upload settings"

# 9
mira "2025-03-19T12:34:56+0100"
cat >docs/upload.md <<'F'
# Uploads

Ask Tomás for a key, put it where `deploy/upload.conf` says, and send `prices.csv` to the host named there.
It takes the list over at night.
F
cat >>README.md <<'F'

How the list gets to the shop: docs/upload.md
F
record -m "Explain how to upload"

# The damage: no reflog, an old index with a lock, a branch without an id, an object without content
git pack-refs --all
sed -i '/refs\/heads\/main$/d' .git/packed-refs
mkdir -p .git/refs/heads
: >.git/refs/heads/main
blob=$(git hash-object docs/upload.md)
object=.git/objects/$(echo "$blob" | cut -c1-2)/$(echo "$blob" | cut -c3-)
chmod 644 "$object"
: >"$object"
chmod 444 "$object"
rm -rf .git/logs .git/ORIG_HEAD .git/COMMIT_EDITMSG
mv .git/stale .git/index
: >.git/index.lock
