# SPDX-License-Identifier: Apache-2.0
"""IDE disks and CD-ROMs under Linux' own drivers: ata_piix, sd_mod, sr_mod, isofs."""

import hashlib
import os
import subprocess
import tempfile
import unittest

from harness.machine import CACHE, ENGINES, EXIT_CONFIGURATION, EXIT_POWER_OFF, KERNEL, NACRE, ROOT, Machine, linux_arguments

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
