# SPDX-License-Identifier: Apache-2.0
"""Small machines for the tests of the command line.

Their guests are a few bytes of machine code in an ELF file with a PVH entry, made on the spot.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NACRE = sys.argv.pop(1) if len(sys.argv) > 1 and os.path.exists(sys.argv[1]) else os.path.join(ROOT, "build", "nacre")
LOAD_ADDRESS = 0x100000
SECONDS = 30

SLEEP = bytes.fromhex("f4 eb fd")  # hlt; again
POWER_OFF = bytes.fromhex("66ba0406 66b80034 66ef f4 ebfd")  # S5 to PM1a control
RESET = bytes.fromhex("66baf90c b006 ee f4 ebfd")
TRIPLE_FAULT = bytes.fromhex("6a00 6a00 0f011c24 cc")  # empty IDT, breakpoint
# The FPU's own divide error, unmasked, with an empty IDT; CR4.OSFXSR, MXCSR without its masks, 1 / 0.
DIVIDE = bytes.fromhex("6a00 6a00 0f011c24 0f20e0 0d00060000 0f22e0 6a00 0fae1424 0f57c9 b801000000 f30f2ac0 f30f5ec1 f4")
PANIC = bytes.fromhex("66ba0505 b001 ee f4 ebfd")  # pvpanic
# Until 'q': waits for a character, sends it back.
ECHO = bytes.fromhex("66bafd03 ec a801 74f7 66baf803 ec ee 3c71 75ed") + POWER_OFF


def usable_engines():
    text = subprocess.run([NACRE, "run", "--engine", "help"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in text.splitlines()[1:] if "; not here: " not in line]


ENGINES = usable_engines()


def without_notice(text):
    """Builds with a sanitizer have no jail, and say so."""
    return re.sub(rb"(?m)^nacre(\([^)]*\))?: no jail .*\n", b"", text)


def guest_image(code):
    """An ELF file of one loaded segment and a note that names its start."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", LOAD_ADDRESS)
    headers = 64 + 2 * 56
    note_header = struct.pack("<IIQQQQQQ", 4, 4, headers, 0, 0, len(note), len(note), 4)
    start = headers + len(note)
    load_header = struct.pack("<IIQQQQQQ", 1, 5, start, LOAD_ADDRESS, LOAD_ADDRESS, len(code), len(code), 4096)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, LOAD_ADDRESS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    return header + note_header + load_header + note + code


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def image(self, code):
        path = os.path.join(self.folder, "guest")
        with open(path, "wb") as file:
            file.write(guest_image(code))
        return path

    def nacre(self, *arguments, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([NACRE, *arguments], capture_output=True, timeout=SECONDS, **more)
        result.stderr = without_notice(result.stderr)
        return result

    def spawn(self, code, *arguments, **more):
        """A machine that runs beside the test, and ends with it."""
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
        command = [NACRE, "run", "--kernel", self.image(code), "--memory", "16M", *arguments]
        process = subprocess.Popen(command, **more)

        def end():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stderr):
                if pipe:
                    pipe.close()

        self.addCleanup(end)
        return process

    def read_message(self, process):
        """The next line on its standard error."""
        line = process.stderr.readline()
        return line if without_notice(line) else process.stderr.readline()

    def run_guest(self, code, *arguments, **more):
        return self.nacre("run", "--kernel", self.image(code), "--memory", "16M", *arguments, **more)
