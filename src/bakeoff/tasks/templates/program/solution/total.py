import re
import sys

ENTRY = re.compile(r"\S+\s+(?:(\d+)h(?: (\d+)m)?|(\d+)m)\s*")

total = 0
for line in sys.stdin:
    if not line.strip():
        continue
    entry = ENTRY.fullmatch(line)
    if entry is None:
        sys.exit(1)
    hours, minutes, alone = entry.groups(default="0")
    total += 60 * int(hours) + int(minutes) + int(alone)
print(f"{total // 60}:{total % 60:02}")
