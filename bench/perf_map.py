# SPDX-License-Identifier: Apache-2.0
"""/tmp/perf-PID.map: a line for each piece of code made at run time, "START SIZE NAME", hexadecimal.

Read here and not by perf, whose reports do not look there for code that lies in a memfd.
"""

import bisect
import os


class PerfMap:
    """Where addresses were used twice, the last name counts. No file: no names."""

    def __init__(self, path):
        pieces = {}
        if os.path.exists(path):
            with open(path) as file:
                for line in file:
                    if not line.endswith("\n"):
                        break  # is being written
                    start, size, name = line.rstrip("\n").split(" ", 2)
                    pieces[int(start, 16)] = (int(size, 16), name)
        self.starts = sorted(pieces)
        self.pieces = pieces

    def name(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        if at < 0:
            return None
        size, name = self.pieces[self.starts[at]]
        return name if address < self.starts[at] + size else None
