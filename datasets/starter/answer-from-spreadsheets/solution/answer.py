"""Join the three sheets, count in exact decimals, and write the answers."""

import csv
import json
import pathlib
from collections import defaultdict
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

DATA = pathlib.Path("/app/data")
ANSWERS = pathlib.Path("/app/answers.json")


def rows(name, delimiter=","):
    with open(DATA / name, encoding="utf-8", newline="") as sheet:
        return list(csv.DictReader(sheet, delimiter=delimiter))


def rounded(value, unit):
    return float(value.quantize(Decimal(unit), ROUND_HALF_UP))


def main():
    prices = defaultdict(list)
    for row in rows("prices.csv", ";"):
        day, month, year = map(int, row["valid_from"].split("."))
        prices[row["product"]].append((date(year, month, day), Decimal(row["price"].replace(",", "."))))
    back = defaultdict(int)
    for row in rows("returns.csv"):
        back[row["order"], row["line"]] += int(row["quantity"])

    quarter = Decimal(0)
    march, customers = defaultdict(int), defaultdict(Decimal)
    ordered = returned = 0
    for row in rows("orders.csv"):
        if row["status"] == "cancelled":
            continue
        product, day, quantity = row["product"].strip().upper(), date.fromisoformat(row["date"]), int(row["quantity"])
        gone = min(back[row["order"], row["line"]], quantity)
        _, price = max(entry for entry in prices[product] if entry[0] <= day)
        revenue = (quantity - gone) * price
        ordered += quantity
        returned += gone
        customers[row["customer"]] += revenue
        if date(2026, 1, 1) <= day <= date(2026, 3, 31):
            quarter += revenue
        if (day.year, day.month) == (2026, 3):
            march[product] += quantity - gone
    answers = {
        "q1_net_revenue": rounded(quarter, "0.01"),
        "march_product": min(march, key=lambda product: (-march[product], product)),
        "return_rate_pct": rounded(Decimal(100 * returned) / ordered, "0.1"),
        "good_customers": sorted(
            (name for name in customers if customers[name] > 500), key=lambda name: -customers[name]
        ),
    }
    ANSWERS.write_text(json.dumps(answers, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


main()
