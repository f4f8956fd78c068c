"""Runs the parts of a check side by side, each in a process of its own."""

import json
import os
import sys
import traceback

import runner


def _give(output, section):
    """Writes what a section yields, a line each, and in the last line whether a run had to be ended."""
    runner.adopt()
    with os.fdopen(output, "w", encoding="utf-8") as lines:
        try:
            for aspect, right in section():
                print(json.dumps([aspect, bool(right)]), file=lines, flush=True)
                if runner.overdue:
                    break
            print(json.dumps(bool(runner.overdue)), file=lines)
        finally:
            runner.end_all()


def _start(section):
    """A reader of what a section yields."""
    reader, output = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reader)
            _give(output, section)
        finally:
            if sys.exc_info()[0]:
                traceback.print_exc()
            os._exit(0)
    os.close(output)
    return os.fdopen(reader, encoding="utf-8")


def side_by_side(sections):
    """Yields what each section yields, (aspect, whether it is right), in their order; all have begun before the first is read.

    Ends early, with (what happened, False), where a section broke off or a run in it did not end in time.
    """
    readers = [_start(section) for section in sections]
    for reader in readers:
        ended = None
        for line in reader:
            found = json.loads(line)
            if isinstance(found, bool):
                ended = found
            else:
                yield tuple(found)
        if ended is None:
            yield "every part of the check went to its end", False
            return
        if ended:
            yield "every run ended in time", False
            return
