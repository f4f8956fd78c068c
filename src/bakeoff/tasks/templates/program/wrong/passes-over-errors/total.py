# Wrong: lines that make no sense are passed over, where they should be an error.
import re
import sys

total = 0
for line in sys.stdin:
    entry = re.fullmatch(r"\S+\s+(?:(\d+)h(?: (\d+)m)?|(\d+)m)\s*", line)
    if entry is None:
        continue
    hours, minutes, alone = entry.groups(default="0")
    total += 60 * int(hours) + int(minutes) + int(alone)
print(f"{total // 60}:{total % 60:02}")
