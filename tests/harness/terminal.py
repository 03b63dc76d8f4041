# SPDX-License-Identifier: Apache-2.0
"""What a terminal would show of a machine's output: cursor positions and clearing (ECMA-48), no colours."""

import re
import time

from harness.machine import TIME_SCALE

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b\r\n])")
SIZE = 256


class Terminal:
    def __init__(self, machine):
        self.machine = machine

    def text(self):
        """The screen, a row a line, without blanks at the ends."""
        screen = [[" "] * SIZE for _ in range(SIZE)]
        row = column = 0
        for match in SEQUENCE.finditer(self.machine.output):
            if match[3]:
                screen[row][min(column, SIZE - 1)] = match[3]
                column += 1
            elif match[2] == "H":
                numbers = [int(number or 1) for number in match[1].split(";")] + [1]
                row, column = numbers[0] - 1, numbers[1] - 1
            elif match[2] == "J":
                screen = [[" "] * SIZE for _ in range(SIZE)]
        return "\n".join("".join(line).rstrip() for line in screen).rstrip()

    def expect(self, pattern, seconds=60):
        """Waits until the screen shows the regular expression."""
        deadline = time.monotonic() + seconds * TIME_SCALE
        while not re.search(pattern, shown := self.text(), re.MULTILINE):
            if time.monotonic() > deadline or self.machine.process.poll() is not None:
                raise AssertionError(f"no {pattern!r} on the screen:\n{shown}")
            time.sleep(0.1)
