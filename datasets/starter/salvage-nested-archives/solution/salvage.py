"""Walk the backup, report every entry, and restore the newest intact copy of each listed file."""

import calendar
import csv
import hashlib
import io
import pathlib
import stat
import struct
import tarfile
import zipfile
import zlib

APP = pathlib.Path("/app")
SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
GZIP = b"\x1f\x8b\x08"
LOCAL = b"PK\x03\x04"


def entry(name, kind, data, whole, mtime, target=""):
    return {"name": name, "kind": kind, "data": data, "whole": whole, "mtime": mtime, "target": target}


def tar_entries(data):
    try:
        archive = tarfile.TarFile(fileobj=io.BytesIO(data), ignore_zeros=True)
    except tarfile.TarError:
        return
    while True:
        try:
            info = archive.next()
        except tarfile.TarError:
            return
        if info is None:
            return
        if info.isdir():
            continue
        # next() takes the slash off the end of a name, which only directories have
        if info.isreg():
            body = data[info.offset_data : info.offset_data + info.size]
            yield entry(info.name, "file", body, len(body) == info.size, info.mtime)
        elif info.issym() or info.islnk():
            yield entry(info.name, "symlink" if info.issym() else "hardlink", b"", True, info.mtime, info.linkname)
        else:
            yield entry(info.name, "special", b"", True, info.mtime)


def gzip_members(data):
    start = data.find(GZIP)
    while start >= 0:
        member = zlib.decompressobj(31)
        out = bytearray()
        end = start + len(GZIP)
        try:
            for place in range(start, len(data)):
                out += member.decompress(data[place : place + 1])
                if member.eof:
                    end = place + 1
                    break
        except zlib.error:
            pass
        yield bytes(out)
        start = data.find(GZIP, end)


def zip_entries(data):
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        yield from cut_zip_entries(data)
        return
    for info in archive.infolist():
        if info.is_dir():
            continue
        body, whole = b"", True
        try:
            body = archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            whole = False
        mtime = calendar.timegm((*info.date_time, 0, 0, 0))
        if stat.S_ISLNK(info.external_attr >> 16):
            yield entry(info.filename, "symlink", b"", True, mtime, body.decode())
        else:
            yield entry(info.filename, "file", body, whole, mtime)


def cut_zip_entries(data):
    at = data.find(LOCAL)
    while at >= 0 and at + 30 <= len(data):
        _, _, method, time, date, _, packed, size, name_length, extra = struct.unpack_from("<HHHHHIIIHH", data, at + 4)
        begin = at + 30 + name_length + extra
        name = data[at + 30 : at + 30 + name_length].decode()
        body = data[begin : begin + packed]
        if method == zipfile.ZIP_DEFLATED:
            try:
                body = zlib.decompressobj(-15).decompress(body)
            except zlib.error:
                body = b""
        day = ((date >> 9) + 1980, date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2)
        if not name.endswith("/"):
            yield entry(name, "file", body, len(body) == size, calendar.timegm((*day, 0, 0, 0)))
        at = data.find(LOCAL, begin + packed)


def entries_of(name, data):
    if name.endswith(".zip"):
        yield from zip_entries(data)
    elif name.endswith(".tar"):
        yield from tar_entries(data)
    else:
        for member in gzip_members(data):
            yield from tar_entries(member)


def climbs(parts):
    depth = 0
    for part in parts:
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def unsafe(item):
    parts = item["name"].split("/")
    if item["name"].startswith("/") or ".." in parts:
        return True
    target = item["target"]
    if item["kind"] == "symlink":
        return target.startswith("/") or climbs([*parts[:-1], *target.split("/")])
    return item["kind"] == "hardlink" and (target.startswith("/") or climbs(target.split("/")))


def walk(archive, data, listed, rows, copies):
    for item in entries_of(archive, data):
        row = [archive, item["name"], ""]
        rows.append(row)
        path = "/".join(part for part in item["name"].split("/") if part not in ("", "."))
        if unsafe(item):
            row[2] = "unsafe"
        elif item["kind"] in ("symlink", "hardlink"):
            row[2] = "link"
        elif item["kind"] == "special":
            row[2] = "special"
        elif item["name"].endswith(SUFFIXES):
            row[2] = "archive"
            walk(f"{archive}!{item['name']}", item["data"], listed, rows, copies)
        elif path not in listed:
            row[2] = "unlisted"
        elif not item["whole"] or hashlib.sha256(item["data"]).hexdigest() not in listed[path]:
            row[2] = "damaged"
        else:
            row[2] = "older"
            order = (item["mtime"], archive.encode(), len(rows))
            copies.setdefault(path, []).append((order, row, item["data"]))


def main():
    listed = {}
    for line in (APP / "checksums.txt").read_text(encoding="utf-8").splitlines():
        listed.setdefault(line[66:], set()).add(line[:64])
    rows, copies = [], {}
    walk("backup.tar", (APP / "backup.tar").read_bytes(), listed, rows, copies)
    for path, found in copies.items():
        _, row, data = max(found)
        row[2] = "restored"
        place = APP / "restored" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    with open(APP / "report.csv", "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([["archive", "entry", "status"], *rows])
    missing = sorted(path.encode() for path in listed if path not in copies)
    (APP / "missing.txt").write_bytes(b"".join(path + b"\n" for path in missing))


main()
