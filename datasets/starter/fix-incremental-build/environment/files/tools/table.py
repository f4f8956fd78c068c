"""Print a table as lines of text."""

import csv
import sys

with open(sys.argv[1], encoding="utf-8", newline="") as file:
    for row in csv.reader(file):
        print(" | ".join(cell.strip() for cell in row))
