"""Trees that nobody has seen before: as the README says, and other than the one of the task."""

from __future__ import annotations

TREE = {
    "VERSION": "0.9 <draft>\n",
    "pages.list": "# pages\n\nzebra Zebras & co\nant The ant\n  # not a page\nmole-2 Moles\nowl_x Owls\ncrow The crow, again\n",
    "pages/ant.txt": "Ants walk.\n@include feet\n@include sizes\n",
    "pages/crow.txt": "Crows \"count\".\nSee [[ant]] and [[mole-2]].\n",
    "pages/mole-2.txt": "Moles dig.\n\n@include below\n",
    "pages/owl_x.txt": "@include above\n  An owl asks [[zebra]].\n",
    "pages/zebra.txt": "Zebras run.\n@include feet\n@include below\n@include missing here\n",
    "pages/unlisted.txt": "Nobody reads this.\n@include nothing-like-it\n",
    "parts/above.txt": "Above is air.\n",
    "parts/below.txt": "Below is earth.\n@include deeper\n",
    "parts/deeper.txt": "Deeper is <rock>.\n@include stones\n",
    "parts/feet.txt": "Feet & hooves.\n",
    "parts/unused.txt": "No page has this.\n",
    "data/sizes.csv": "animal,size\nant,\"2, or 3\"\n",
    "data/stones.csv": "stone , weight\ngranite,9\n",
    "style/m.css": "m { color: red; }\n",
    "style/B.css": "b { color: blue; }\n",
    "style/a.css": "a { color: green; }\n",
    "style/z-1.css": "z { color: grey; }\n",
    "style/k.css": "k { color: black; }\n",
    "style/c.css": "c { color: white; }\n",
    "style/a2.css": "a2 { color: pink; }\n",
}  # fmt: skip

SMALL = {
    "VERSION": "2\n",
    "pages.list": "hen The hen\n",
    "pages/hen.txt": "Hens lay.\n@include eggs\n",
    "parts/grain.txt": "Grain.\n",
    "data/eggs.csv": "size,price\nlarge,2\n",
    "style/h.css": "h { color: white; }\n",
}
