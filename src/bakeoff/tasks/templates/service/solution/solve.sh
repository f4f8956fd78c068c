#!/bin/sh
# What the agent "oracle" runs: the proof that the task can be solved and that its tests let a solution pass.
# The other files of this folder are beside it, at /solution; that folder does not stay, so the service runs from a copy.
set -eu
cp /solution/serve.py /app/serve.py
python3 /app/serve.py </dev/null >/app/serve.log 2>&1 &

# Done only when it answers.
python3 - <<'END'
import socket, time

for attempt in range(200):
    try:
        socket.create_connection(("127.0.0.1", 8080), timeout=1).close()
        break
    except OSError:
        time.sleep(0.05)
else:
    raise SystemExit("the service does not answer")
END
