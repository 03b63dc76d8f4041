# SPDX-License-Identifier: Apache-2.0
"""What an idle machine costs its host: time of a core, and memory beyond the pages that the guest has touched."""

import glob
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.machine import ENGINES, Machine, linux_arguments, proportional_megabytes  # noqa: E402

PROMPT = r"nacre:\S+# "
BOOT_SECONDS = 60
SETTLE_SECONDS = 3  # the kernel's late work after the prompt
IDLE_SECONDS = 6
CORE_PERCENT = 1
# Beyond guest memory. The translator's is its code, and what it knows of each piece of it.
OVERHEAD_MEGABYTES = {"interpret": 16, "translate": 96}
GUEST_MEGABYTES = 512


def processor_nanoseconds(pid):
    """What all threads have run so far; they are never gone while the machine runs."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total


class Footprint(unittest.TestCase):
    def test_idle_machine(self):
        for engine in ENGINES:
            self.check_idle_machine(engine)

    def check_idle_machine(self, engine):
        machine = Machine(linux_arguments("--engine", engine, append="quiet", memory=f"{GUEST_MEGABYTES}M"))
        self.addCleanup(machine.close)
        machine.expect(PROMPT, BOOT_SECONDS)
        time.sleep(SETTLE_SECONDS)
        pid = machine.process.pid
        before, start = processor_nanoseconds(pid), time.monotonic_ns()
        time.sleep(IDLE_SECONDS)
        used = processor_nanoseconds(pid) - before
        percent = 100 * used / (time.monotonic_ns() - start)
        guest, other = proportional_megabytes(pid, GUEST_MEGABYTES)
        machine.close()
        with self.subTest("processor", engine=engine):
            self.assertGreater(used, 0)
            self.assertLess(percent, CORE_PERCENT)
        with self.subTest("memory", engine=engine):
            self.assertGreater(guest, 16)  # found by its size
            self.assertLess(other, OVERHEAD_MEGABYTES[engine])


if __name__ == "__main__":
    unittest.main()
