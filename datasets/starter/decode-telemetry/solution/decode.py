"""Decode a telemetry log: decode.py LOG SAMPLES GAPS."""

import csv
import datetime
import sys

SYNC = b"\xa5\x5a"
MAX_PAYLOAD = 1024
MAX_COUNT = 5000
EPOCH = datetime.datetime(1970, 1, 1)


def crc_table():
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return table


TABLE = crc_table()


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ TABLE[crc >> 8 ^ byte]
    return crc


class Malformed(Exception):
    pass


class Payload:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def u8(self):
        if self.at >= len(self.data):
            raise Malformed
        self.at += 1
        return self.data[self.at - 1]

    def uvarint(self):
        value = 0
        for place in range(10):
            byte = self.u8()
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if value >= 1 << 64:
                    raise Malformed
                return value
        raise Malformed

    def svarint(self):
        value = self.uvarint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def rest(self):
        data = self.data[self.at :]
        self.at = len(self.data)
        return data

    def end(self):
        if self.at != len(self.data):
            raise Malformed


def read_record(data, at):
    """The record that begins at a place: its type, its payload and the place behind it; or None."""
    if data[at : at + 2] != SYNC or at + 4 > len(data):
        return None
    length = data[at + 3]
    begin = at + 4
    if length >= 0x80:
        if begin >= len(data) or data[begin] >= 0x80:
            return None
        length = length & 0x7F | data[begin] << 7
        begin += 1
    end = begin + length
    if length > MAX_PAYLOAD or end + 2 > len(data):
        return None
    if crc16(data[at + 2 : end]) != int.from_bytes(data[end : end + 2], "big"):
        return None
    return data[at + 2], data[begin:end], end + 2


class Decoder:
    def __init__(self):
        self.clock = None
        self.last = {}
        self.channels = {}
        self.samples = []
        self.gaps = []

    def decode(self, data):
        at = 0
        if data[:4] == b"TLM1" and len(data) >= 12:
            self.clock = int.from_bytes(data[4:12], "little")
            at = 12
        gap = None
        while at < len(data):
            record = read_record(data, at)
            if record is None:
                if gap is None:
                    gap = at
                at = data.find(SYNC, at + 1)
                if at < 0:
                    at = len(data)
                continue
            if gap is not None:
                self.lose(gap, at)
                gap = None
            kind, payload, at = record
            handle = {1: self.define, 2: self.sample, 3: self.series, 4: self.set_clock}.get(kind)
            if handle is not None:
                try:
                    handle(Payload(payload))
                except Malformed:
                    pass
        if gap is not None:
            self.lose(gap, at)

    def lose(self, begin, end):
        self.gaps.append([begin, end - begin])
        self.clock = None
        self.last = {}

    def define(self, payload):
        channel, decimals = payload.uvarint(), payload.u8()
        try:
            name = payload.rest().decode("utf-8")
        except UnicodeDecodeError:
            raise Malformed from None
        if decimals > 9:
            raise Malformed
        self.channels[channel] = (name, decimals)
        self.last.pop(channel, None)

    def sample(self, payload):
        channel, step, value = payload.uvarint(), payload.uvarint(), payload.svarint()
        payload.end()
        self.go_on(step)
        self.last[channel] = value
        self.write(channel, value)

    def series(self, payload):
        channel, step, interval, count = (payload.uvarint() for _ in range(4))
        if not 1 <= count <= MAX_COUNT:
            raise Malformed
        changes = []
        while len(changes) < count:
            change = payload.svarint()
            more = payload.uvarint() if change == 0 else 0
            if len(changes) + 1 + more > count:
                raise Malformed
            changes += [change] * (1 + more)
        payload.end()
        for place, change in enumerate(changes):
            self.go_on(interval if place else step)
            if channel in self.last:
                self.last[channel] += change
                self.write(channel, self.last[channel])

    def set_clock(self, payload):
        if len(payload.data) != 8:
            raise Malformed
        self.clock = int.from_bytes(payload.data, "little")

    def go_on(self, step):
        if self.clock is not None:
            self.clock += step

    def write(self, channel, value):
        name, decimals = self.channels.get(channel, ("", 0))
        time = ""
        if self.clock is not None:
            time = (EPOCH + datetime.timedelta(milliseconds=self.clock)).isoformat(timespec="milliseconds") + "Z"
        digits = str(abs(value)).rjust(decimals + 1, "0")
        if decimals:
            digits = f"{digits[:-decimals]}.{digits[-decimals:]}"
        self.samples.append([time, name or f"#{channel}", f"-{digits}" if value < 0 else digits])


def write(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


def main():
    log, samples, gaps = sys.argv[1:]
    decoder = Decoder()
    with open(log, "rb") as file:
        decoder.decode(file.read())
    write(samples, [["time", "channel", "value"], *decoder.samples])
    write(gaps, [["offset", "length"], *decoder.gaps])


main()
