"""Reads the documents in /app/invoices and writes /app/lines.csv and /app/summary.json."""

import csv
import json
import re
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

FOLDER = Path("/app/invoices")
HEADER = ["supplier", "document", "date", "currency", "line"]
HEADER += ["item", "description", "quantity", "unit_price", "amount"]


def cents(value):
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def comma(text):
    """1.234,50 or 1 234,50; a sign on either side is left out."""
    return Decimal(re.sub(r"[^\d,]", "", text).replace(",", "."))


def point(text):
    """1,234.50 or (1,234.50)."""
    return Decimal(re.sub(r"[^\d.]", "", text))


def line(item, description, quantity, price, rate, discount=0):
    amount = cents(quantity * price * (100 - discount) / 100)
    return {"item": item, "parts": [description], "quantity": quantity, "price": price, "rate": rate, "amount": amount}


def nordwind(text):
    head = re.search(r"^(Rechnung|Gutschrift) Nr\. (\S+) +Datum: (\S+)", text, re.M)
    if not head:
        return None
    row = re.compile(r" *\d+  (\S+) +(.+?) +([\d.,]+)-? +([\d.,]+) +(\d+) % +[\d.,]+-?$")
    lines = []
    for page in text.split("\f"):
        table = page[page.index("Pos  Artikel") :].split("\n\n")[0]
        for each in table.splitlines()[1:]:
            found = row.match(each)
            if found:
                item, description, quantity, price, rate = found.groups()
                lines.append(line(item, description, comma(quantity), comma(price), Decimal(rate)))
            elif "Übertrag" not in each and each.strip():
                lines[-1]["parts"].append(each.strip())
    date = datetime.strptime(head[3], "%d.%m.%Y")
    printed = comma(re.search(r"(?:Zu zahlen|Gutgeschrieben) EUR +(\S+)", text)[1])
    return head[2], date, "EUR", head[1] == "Gutschrift", lines, printed


def harbor(text):
    number = re.search(r"^(Invoice|Credit) no\.: +(\S+)", text, re.M)
    date = datetime.strptime(re.search(r"date: +(\S+)", text)[1], "%m/%d/%Y")
    rate = re.search(r"^Sales tax ([\d.]+) %", text, re.M)
    rate = Decimal(rate[1]) if rate else Decimal(0)
    lines, item, parts = [], "", []
    for each in re.split(r"^-+$", text, flags=re.M)[1].strip("\n").splitlines():
        first = re.match(r"Item (\S+) +(.+)", each)
        price = re.match(r" +([\d.,]+) each @ ([\d.,]+)", each)
        if first:
            item, parts = first[1], [first[2].strip()]
        elif price:
            lines.append(line(item, "", point(price[1]), point(price[2]), rate))
            lines[-1]["parts"] = parts
        elif each.startswith("Freight"):
            lines.append(line("FREIGHT", "Freight", Decimal(1), point(each.split()[-1]), rate))
        else:
            parts.append(each.strip())
    total = re.search(r"^TOTAL \w+ (\w+) +(\S+)", text, re.M)
    return number[2], date, total[1], number[1] == "Credit", lines, point(total[2])


def lumen(text):
    head = re.search(r"(Facture|Avoir) / .* (\S+)\nIssued on (.*) — amounts in (\w+)", text)
    rate = Decimal(re.search(r"^TVA / VAT (\S+) %", text, re.M)[1].replace(",", "."))
    lines = []
    for entry in re.findall(r"^\[.*\n(?: .*\n)+", text, re.M):
        first, *rest = entry.splitlines()
        item, description = re.match(r"\[(\S+)\] (.+)", first).groups()
        price = next(n for n, each in enumerate(rest) if re.match(r" +[\d\s,]+ \u00d7 [\d\s,]+$", each))
        quantity, unit = (comma(part) for part in rest[price].split("\u00d7"))
        off = [comma(each) for each in rest[price + 1 :] if "remise" in each]
        lines.append(line(item, description.strip(), quantity, unit, rate, *off))
        lines[-1]["parts"] += [each.strip() for each in rest[:price]]
    printed = comma(re.search(r"to pay +(.*)", text)[1])
    return head[2], datetime.strptime(head[3], "%d %B %Y"), head[4], head[1] == "Avoir", lines, printed


def joined(parts):
    text = parts[0]
    for part in parts[1:]:
        text += part if text.endswith("-") else " " + part
    return text


def plain(value):
    return f"{value.normalize():f}"


def main():
    documents, duplicates = {}, []
    for path in sorted(FOLDER.iterdir()):
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n").replace("\u00a0", " ")
        reader = next(r for mark, r in (("NORDWIND", nordwind), ("HARBOR", harbor), ("Atelier", lumen)) if mark in text)
        read = reader(text)
        if read is None:
            continue
        key = reader.__name__, read[0]
        if key in documents:
            duplicates.append({"file": path.name, "same_as": documents[key][0]})
        else:
            documents[key] = path.name, read

    rows, totals, mismatches = [], {}, []
    for (supplier, number), (_, read) in sorted(documents.items()):
        _, date, currency, credit, lines, printed = read
        sign = -1 if credit else 1
        rates = {}
        for position, each in enumerate(lines, 1):
            rates[each["rate"]] = rates.get(each["rate"], 0) + each["amount"]
            row = [supplier, number, f"{date:%Y-%m-%d}", currency, position, each["item"], joined(each["parts"])]
            rows.append([*row, plain(each["quantity"]), plain(each["price"]), f"{sign * each['amount']:.2f}"])
        net = sum(rates.values())
        tax = sum(cents(base * rate / 100) for rate, base in rates.items())
        total = totals.setdefault((supplier, currency), [0, 0, 0, 0])
        total[credit] += 1
        total[2] += sign * net
        total[3] += sign * tax
        if printed != net + tax:
            money = {"printed": f"{sign * printed:.2f}", "calculated": f"{sign * (net + tax):.2f}"}
            mismatches.append({"supplier": supplier, "document": number, **money})

    with open("/app/lines.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(rows)
    summary = {"totals": [], "duplicates": duplicates, "mismatches": mismatches}
    for (supplier, currency), (invoices, credits, net, tax) in sorted(totals.items()):
        counts = {"supplier": supplier, "currency": currency, "invoices": invoices, "credit_notes": credits}
        money = {"net": f"{net:.2f}", "tax": f"{tax:.2f}", "gross": f"{net + tax:.2f}"}
        summary["totals"].append({**counts, **money})
    Path("/app/summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


main()
