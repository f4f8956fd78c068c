# Wrong: nine minutes and less are printed with one digit, which no line of the example shows.
import re
import sys

total = 0
for line in sys.stdin:
    if not line.strip():
        continue
    entry = re.fullmatch(r"\S+\s+(?:(\d+)h(?: (\d+)m)?|(\d+)m)\s*", line)
    if entry is None:
        sys.exit(1)
    hours, minutes, alone = entry.groups(default="0")
    total += 60 * int(hours) + int(minutes) + int(alone)
print(f"{total // 60}:{total % 60}")
