# SPDX-License-Identifier: Apache-2.0
"""Firmware: a machine that starts at the reset vector, as a PC does."""

import os
import tempfile
import unittest

from harness.firmware import grub_bios_disk, shown
from harness.machine import ENGINES, EXIT_CONFIGURATION, Machine

MENU = """
set timeout=-1
menuentry "first of nacre" { echo first; sleep 100 }
menuentry "start again" { reboot }
"""
BOOT_SECONDS = 30


class Firmware(unittest.TestCase):
    def run_machine(self, *arguments):
        machine = Machine(["run", "--quiet", *arguments])
        self.addCleanup(machine.close)
        return machine

    def folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def test_seabios_says_what_it_does(self):
        for engine in ENGINES:
            with self.subTest(engine=engine):
                machine = self.run_machine("--firmware", "bios", "--engine", engine, "--cpus", "2", "--debug-console", "stdio")
                machine.expect("Running on QEMU .i440fx.", BOOT_SECONDS)
                machine.expect("Found 2 cpu.s. max supported 2", BOOT_SECONDS)
                machine.expect("No bootable device", BOOT_SECONDS)
                machine.close()

    def test_grub_boots_from_disk_and_again(self):
        disk = os.path.join(self.folder(), "disk.img")
        grub_bios_disk(disk, MENU)
        for engine in ENGINES:
            with self.subTest(engine=engine):
                machine = self.run_machine("--firmware", "bios", "--engine", engine, "--disk", disk + ",readonly=on")
                machine.expect(shown("first of nacre"), BOOT_SECONDS)
                machine.expect(shown("start again"), BOOT_SECONDS)
                machine.send("\x1b[B\r")  # down
                machine.expect(shown("GRUB loading"), BOOT_SECONDS)
                machine.expect(shown("first of nacre"), BOOT_SECONDS)
                machine.close()

    def test_bad_images(self):
        short = os.path.join(self.folder(), "short.bin")
        with open(short, "wb") as file:
            file.write(b"\xf4" * 1000)
        for image, why in ((short, "must be whole pages"), ("/no/such/file", "No such file"), ("/tmp", "not a regular file")):
            with self.subTest(image=image):
                machine = self.run_machine("--firmware", image)
                machine.expect(f"--firmware {image}.*{why}", 5)
                self.assertEqual(machine.wait(), EXIT_CONFIGURATION)


if __name__ == "__main__":
    unittest.main()
