#!/bin/sh
# Wrong: kills the worker's process group, and misses what has left it.
set -eu
sed -e 's/^        end_children()$/        end_group(pid)/' \
    -e 's/^    ctypes.*prctl.*$/    pass/' /solution/supervise.py >/app/supervise
chmod 755 /app/supervise
sed -i '/^def end_children/i\
def end_group(pid):\
    try:\
        os.killpg(pid, signal.SIGKILL)\
    except OSError:\
        pass\
    reap(pid)\
\
' /app/supervise
