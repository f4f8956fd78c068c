"""Print the navigation: a link for each page of the list, in its order."""

import html
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    lines = [line.strip() for line in file]
for line in lines:
    if line and not line.startswith("#"):
        name, _, title = line.partition(" ")
        print(f'<a href="{name}.html">{html.escape(title.strip())}</a>')
