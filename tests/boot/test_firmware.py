# SPDX-License-Identifier: Apache-2.0
"""Firmware: a machine that starts at the reset vector, as a PC does."""

import os
import subprocess
import tempfile
import unittest

from harness.firmware import grub_bios_disk, shown
from harness.machine import CACHE, ENGINES, EXIT_CONFIGURATION, EXIT_POWER_OFF, Machine, NACRE, ROOT

MENU = """
set timeout=-1
menuentry "first of nacre" { echo first; sleep 100 }
menuentry "start again" { reboot }
"""
BOOT_SECONDS = 30
DEBIAN_SECONDS = 300


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

    def pc_disk(self):
        """Debian as an installer leaves it, under an overlay that takes the writes."""
        subprocess.run(["scripts/make-pc-image"], cwd=ROOT, check=True)
        overlay = os.path.join(self.folder(), "disk.qcow2")
        base = os.path.join(os.path.realpath(CACHE), "pc", "disk.img")
        subprocess.run([NACRE, "image", "create", "--backing", base, overlay], check=True)
        return overlay

    def boot_debian(self, *arguments):
        machine = self.run_machine("--memory", "1G", "--disk", self.pc_disk(), *arguments)
        machine.expect("nacre-debian login:", DEBIAN_SECONDS)
        machine.send("root\n")
        machine.expect(r"root@nacre-debian:~# ", 60)
        machine.run("stty -echo; bind 'set enable-bracketed-paste off'; dmesg --console-off", 60)
        return machine

    def test_debian_by_bios(self):
        machine = self.boot_debian("--firmware", "bios", "--cpus", "2")
        self.assertIn("/dev/vda3", machine.run("findmnt -no SOURCE /"))
        self.assertIn("SeaBIOS", machine.run("cat /sys/class/dmi/id/bios_vendor; dmesg | grep DMI:"))
        self.assertIn("NACREVM", machine.run("dmesg | grep ACPI:"))
        self.assertIn("2", machine.run("nproc"))
        machine.send("poweroff\n")
        self.assertEqual(machine.wait(120), EXIT_POWER_OFF)

    def test_debian_by_uefi_keeps_its_variables(self):
        folder = self.folder()
        variables = os.path.join(folder, "variables.fd")
        firmware = f"uefi,vars={variables}"
        machine = self.boot_debian("--firmware", firmware, "--cpus", "2")
        self.assertIn("Boot0001", machine.run("ls /sys/firmware/efi/efivars"))
        second = self.run_machine("--firmware", firmware)
        second.expect("another machine uses it", 5)
        name = "/sys/firmware/efi/efivars/Nacre-12345678-1234-1234-1234-123456789abc"
        machine.run("mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs none /sys/firmware/efi/efivars")
        machine.run(f"printf '\\007\\000\\000\\000pearl' >{name}; sync")
        machine.send("poweroff\n")
        self.assertEqual(machine.wait(120), EXIT_POWER_OFF)
        with open(variables, "rb") as file:
            content = file.read()
        self.assertIn(b"pearl", content)
        self.assertEqual(len(content), os.path.getsize("/usr/share/OVMF/OVMF_VARS_4M.fd"))

    def test_bad_variables(self):
        path = os.path.join(self.folder(), "variables.fd")
        with open(path, "wb") as file:
            file.write(b"x" * 5000)
        for firmware, why in ((f"uefi,vars={path}", "cannot be a flash chip"), ("uefi,vars=/no/such", "No such file"),
                              ("bios,vars=x", "has no variables"), ("uefi,boot=x", "boot")):  # fmt: skip
            with self.subTest(firmware=firmware):
                machine = self.run_machine("--firmware", firmware)
                machine.expect(why, 5)
                self.assertEqual(machine.wait(), EXIT_CONFIGURATION)


if __name__ == "__main__":
    unittest.main()
