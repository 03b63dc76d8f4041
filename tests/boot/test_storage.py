# SPDX-License-Identifier: Apache-2.0
"""IDE disks, CD-ROMs and floppies: under Linux' own drivers (ata_piix, sd_mod, sr_mod, isofs), and booted by a BIOS."""

import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

from harness.firmware import grub_bios_disk, shown
from harness.machine import BUILD, CACHE, ENGINES, EXIT_CONFIGURATION, EXIT_POWER_OFF, KERNEL, NACRE, ROOT, Machine, linux_arguments

MODULES = os.path.join(CACHE, "storage-modules")
ORDER = ["scsi_common", "scsi_mod", "sd_mod", "cdrom", "sr_mod", "libata", "ata_piix", "isofs"]
MIB = 1 << 20


def digest(data):
    return hashlib.md5(data).hexdigest()


class Storage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.initramfs = os.path.join(cls.folder, "initramfs.gz")
        extra = [f"modules/{name}.ko={MODULES}/{name}.ko" for name in ORDER]
        subprocess.run([os.path.join(ROOT, "scripts", "make-initramfs"), cls.initramfs, *extra], check=True)
        tree = os.path.join(cls.folder, "tree")
        os.mkdir(tree)
        cls.content = os.urandom(3 * MIB + 123)
        with open(os.path.join(tree, "random"), "wb") as file:
            file.write(cls.content)
        cls.iso = os.path.join(cls.folder, "cd.iso")
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", cls.iso, tree], check=True, capture_output=True)

    def make_disk(self, size):
        path = os.path.join(self.folder, f"{self.id()}.img")
        with open(path, "wb") as disk:
            disk.write(os.urandom(size))
        return path

    def boot(self, *more, parameters="", engine="auto", **options):
        machine = Machine(linux_arguments("--engine", engine, *more, append="quiet", initrd=self.initramfs, **options))
        self.addCleanup(machine.close)
        machine.expect(r"nacre:\S+# ", 60)
        for name in ORDER:
            machine.run(f"insmod /modules/{name}.ko {parameters if name == 'libata' else ''}")
        machine.run("for i in $(seq 50); do [ -e /dev/sda -a -e /dev/sr0 ] && break; sleep 0.1; done; ls /dev/sda /dev/sr0")
        return machine

    def check(self, **options):
        """Reads both media, writes to the disk; the image holds what the guest says."""
        path = self.make_disk(5 * MIB)
        machine = self.boot("--disk", f"{path},bus=ide", "--cdrom", self.iso, **options)
        with open(path, "rb") as disk:
            self.assertIn(digest(disk.read()), machine.run("md5sum /dev/sda"))
        machine.run("mount -t iso9660 /dev/sr0 /root")
        self.assertIn(digest(self.content), machine.run("md5sum /root/random"))
        machine.run("dd if=/root/random of=/dev/sda bs=1M seek=1 conv=fsync")
        machine.run("echo 3 >/proc/sys/vm/drop_caches")
        inside = machine.run("md5sum /dev/sda")
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)
        with open(path, "rb") as disk:
            outside = disk.read()
        self.assertIn(digest(outside), inside)
        self.assertEqual(outside[MIB : MIB + len(self.content)], self.content)

    def test_by_dma(self):
        for engine in ENGINES:
            with self.subTest(engine):
                self.check(engine=engine, cpus=2)

    def test_by_data_port(self):
        self.check(parameters="dma=0")

    def test_without_apics(self):
        """The legacy interrupts 14 and 15, as old systems have them."""
        path = self.make_disk(MIB)
        machine = Machine(linux_arguments("--disk", f"{path},bus=ide", "--cdrom", self.iso,
                                          append="quiet noapic nolapic", initrd=self.initramfs))  # fmt: skip
        self.addCleanup(machine.close)
        machine.expect(r"nacre:\S+# ", 60)
        machine.run(f"for m in {' '.join(ORDER)}; do insmod /modules/$m.ko; done; sleep 1")
        with open(path, "rb") as disk:
            self.assertIn(digest(disk.read()), machine.run("md5sum /dev/sda"))
        self.assertRegex(machine.run("grep ata_piix /proc/interrupts"), r"14:\s+[1-9]\d*\s+XT-PIC")


class FullHost(unittest.TestCase):
    def test_guest_waits_for_room(self):
        """A host file system of 4 MiB with a disk of 16 in it: the guest stops, and goes on when it grows."""
        folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True).returncode:
            self.skipTest("takes the right to mount")
        self.addCleanup(subprocess.run, ["umount", folder], check=True)
        path = os.path.join(folder, "disk.img")
        with open(path, "wb") as disk:
            disk.truncate(16 * MIB)
        machine = Machine(linux_arguments("--disk", path, append="quiet"))
        self.addCleanup(machine.close)
        machine.expect(r"nacre:\S+# ", 60)
        machine.send("dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null; dd if=/tmp/r of=/dev/vda bs=1M conv=fsync; md5sum /tmp/r; echo d''one\n")
        machine.expect("the host is full", 60)
        subprocess.run(["mount", "-o", "remount,size=32m", folder], check=True)
        machine.expect("the host has room again", 30)
        inside = machine.expect(r"^([0-9a-f]{32})  /tmp/r(?s:.*)^done", 60)[1]
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)
        with open(path, "rb") as disk:
            self.assertEqual(digest(disk.read(8 * MIB)), inside)


class Bios(unittest.TestCase):
    """SeaBIOS starts what lies on each kind of medium."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_machine(self, *arguments):
        machine = Machine(["run", "--quiet", "--firmware", "bios", *arguments])
        self.addCleanup(machine.close)
        return machine

    def test_boot_floppy(self):
        """Our own: real mode and BIOS calls (guest/bios/floppy.S). It leaves its mark on cylinder 40."""
        with open(os.path.join(BUILD, "guest", "guest-floppy.bin"), "rb") as code:
            start = code.read()
        content = start + b"".join(struct.pack("<H510x", sector) for sector in range(2880))[len(start) :]
        path = os.path.join(self.folder, "floppy.img")
        for engine in ENGINES:
            with self.subTest(engine):
                with open(path, "wb") as floppy:
                    floppy.write(content)
                machine = self.run_machine("--floppy", path, "--engine", engine)
                self.assertEqual(machine.wait(60), EXIT_POWER_OFF)
                results = [line for _, line in machine.lines if line.startswith(("PASS", "FAIL", "END"))]
                self.assertEqual([line[:4] for line in results], ["PASS"] * 7 + ["END"], results)
                with open(path, "rb") as floppy:
                    floppy.seek(((40 * 2 + 1) * 18 + 4) * 512)
                    self.assertEqual(floppy.read(2), b"\x34\x12")

    def test_grub_rescue_cdrom(self):
        """As grub-mkrescue makes it; GRUB reads its menu and a kernel through the BIOS."""
        tree = os.path.join(self.folder, "tree")
        os.makedirs(os.path.join(tree, "boot", "grub"))
        with open(os.path.join(tree, "boot", "grub", "grub.cfg"), "w") as menu:
            menu.write("set timeout=-1\nmenuentry 'rescue of nacre' { linux /vmlinuz console=ttyS0 panic=-1 }\n")
        shutil.copy(KERNEL, tree)
        iso = os.path.join(self.folder, "rescue.iso")
        subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--install-modules=linux normal iso9660 biosdisk", "--locales=", "--fonts=",
                        "-o", iso, tree], check=True, capture_output=True)  # fmt: skip
        for engine in ENGINES:
            with self.subTest(engine):
                machine = self.run_machine("--cdrom", iso, "--engine", engine)
                machine.expect(shown("rescue of nacre"), 60)
                if engine == "translate":
                    machine.send("\r")
                    machine.expect("Linux version 6", 120)
                machine.close()

    def test_grub_on_an_ide_disk(self):
        disk = os.path.join(self.folder, "disk.img")
        grub_bios_disk(disk, "set timeout=-1\nmenuentry 'disk of nacre' { halt }\n")
        machine = self.run_machine("--disk", f"{disk},bus=ide")
        machine.expect(shown("disk of nacre"), 60)


class Images(unittest.TestCase):
    """What cannot be a medium is refused before anything runs, in one line that names the option."""

    def refused(self, option, size, *words):
        with tempfile.NamedTemporaryFile(suffix=".img") as image:
            image.truncate(size)
            arguments = [image.name if word == "IMAGE" else word for word in option]
            result = subprocess.run([NACRE, "run", "--kernel", KERNEL, *arguments], capture_output=True, text=True,
                                    timeout=30, stdin=subprocess.DEVNULL)  # fmt: skip
        self.assertEqual(result.returncode, EXIT_CONFIGURATION, result.stderr)
        for word in (option[0], *words):
            self.assertIn(word, result.stderr)

    def test_cdrom(self):
        self.refused(["--cdrom", "IMAGE"], 0, "empty")
        self.refused(["--cdrom", "IMAGE"], 1024, "2048")
        self.refused(["--cdrom", "/nonexistent.iso"], 0, "/nonexistent.iso", "No such file")

    def test_floppy(self):
        self.refused(["--floppy", "IMAGE"], 0, "empty")
        self.refused(["--floppy", "IMAGE"], 737280, "1474560")
        self.refused(["--floppy", "IMAGE"], 1474560 + 512, "1474560")
        self.refused(["--floppy", "/nonexistent.img"], 0, "/nonexistent.img", "No such file")

    def test_too_many_ide_disks(self):
        with tempfile.TemporaryDirectory() as folder:
            disks = []
            for number in range(5):
                path = os.path.join(folder, f"{number}.img")
                with open(path, "wb") as disk:
                    disk.truncate(MIB)
                disks += ["--disk", f"{path},bus=ide"]
            self.refused(disks, MIB, "4.img", "bus=virtio")

    def test_unknown_bus(self):
        self.refused(["--disk", "x,bus=scsi"], 0, "bus", "scsi")


if __name__ == "__main__":
    unittest.main()
