# Defaults of rotate.sh.
DAILY=7
WEEKLY=4
LOCK=$HOME/rotate.lock
