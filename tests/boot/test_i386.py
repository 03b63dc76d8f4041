# SPDX-License-Identifier: Apache-2.0
"""Debian's i386 kernels, with three and with two levels of page tables, and an i386 busybox on them.

Translated only: xz, which they are packed with, takes the interpreter most of a minute.
"""

import os
import subprocess
import unittest

from harness.machine import CACHE, EXIT_POWER_OFF, Machine, ROOT, linux_arguments

FOLDER = os.path.join(CACHE, "i386")
INITRAMFS = os.path.join(FOLDER, "initramfs.gz")
PROMPT = r"nacre:\S+# "
BOOT_SECONDS = 60
SUM = "e071f707df7bbeee2a6a1eb48011ddd0"  # seq 20000 | md5sum


class I386(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["scripts/fetch-guest", "i386"], cwd=ROOT, check=True)
        subprocess.run(["scripts/make-initramfs", INITRAMFS, f"bin/busybox={FOLDER}/busybox"], cwd=ROOT, check=True)

    def check(self, flavour, cpus):
        kernel = os.path.join(FOLDER, f"vmlinuz-{flavour}")
        with Machine(linux_arguments(append="quiet", kernel=kernel, initrd=INITRAMFS, cpus=cpus)) as machine:
            machine.expect(PROMPT, BOOT_SECONDS)
            self.assertRegex(machine.run("uname -rm"), rf"\d-{flavour} i686")
            self.assertIn(str(cpus), machine.run("grep -c ^processor /proc/cpuinfo"))
            sums = machine.run("for i in 1 2 3; do (seq 20000 | md5sum) & done; wait")
            self.assertEqual(sums.count(SUM), 3)
            machine.send("poweroff -f\n")
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def test_pae(self):
        self.check("686-pae", 2)

    def test_two_levels(self):
        self.check("686", 1)
