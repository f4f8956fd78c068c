#!/bin/sh
# Wrong: undoes the escapes with one replacement after the other, so that an escaped backslash before an n becomes a line break.
set -eu
sed 's/    return re.sub(.*/    return path.replace("\\\\n", "\\n").replace("\\\\\\\\", "\\\\")/' /solution/verify.py >/tmp/verify.py
python3 /tmp/verify.py
