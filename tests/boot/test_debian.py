# SPDX-License-Identifier: Apache-2.0
"""Debian's linux-image-amd64 with its own initrd from an ext4 disk: systemd, network, ssh, a large file."""

import hashlib
import os
import random
import re
import subprocess
import tempfile
import time
import unittest

from harness.host import free_port, web_server
from harness.machine import CACHE, EXIT_POWER_OFF, Machine, NACRE, ROOT, TIME_SCALE

FOLDER = os.path.join(CACHE, "debian")
BOOT_SECONDS = 300
FILE_MIB = 256
SSH_NO_CONNECTION = 255


class Debian(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["scripts/make-debian-image"], cwd=ROOT, check=True)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=CACHE)
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.port = free_port()

    def copy_disk(self):
        self.disk = os.path.join(self.folder, "disk.img")
        subprocess.run(["cp", "--sparse=always", os.path.join(FOLDER, "disk.img"), self.disk], check=True)

    def overlay_disk(self):
        self.disk = os.path.join(self.folder, "disk.qcow2")
        base = os.path.join(os.path.realpath(FOLDER), "disk.img")
        subprocess.run([NACRE, "image", "create", "--backing", base, self.disk], check=True)

    def boot(self, *more, cpu="x86-64-v2"):
        command = os.environ.get("NACRE_DEBIAN_COMMAND")  # to see whether the test or nacre is wrong
        kernel, initrd = (os.path.join(FOLDER, name) for name in ("vmlinuz", "initrd.img"))
        append = "root=/dev/vda rw console=ttyS0 quiet"
        forward = f"user,hostfwd=tcp:127.0.0.1:{self.port}-:22"
        if command == "qemu":
            machine = Machine(
                ["-m", "1024", "-smp", "2", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
                 "-initrd", initrd, "-append", append, "-drive", f"file={self.disk},format={'qcow2' if self.disk.endswith('2') else 'raw'},if=virtio",
                 "-nic", forward + ",model=virtio-net-pci"], "qemu-system-x86_64")  # fmt: skip
        else:
            machine = Machine(
                ["run", "--kernel", kernel, "--initrd", initrd, "--append", append, "--cpus", "2", "--cpu", cpu,
                 "--memory", "1024M", "--disk", self.disk, "--net", forward, "--serial", "stdio", *more])  # fmt: skip
        self.addCleanup(machine.close)
        machine.expect("nacre-debian login:", BOOT_SECONDS)
        return machine

    def log_in(self, machine):
        machine.send("root\n")
        machine.expect(r"root@nacre-debian:~# ", 60)
        machine.run("stty -echo; bind 'set enable-bracketed-paste off'; dmesg --console-off", 60)

    def power_off(self, machine):
        machine.send("poweroff\n")
        self.assertEqual(machine.wait(120), EXIT_POWER_OFF)

    def ssh(self, command, seconds=180):
        """Tried again while nobody answers: the forwarded port is open before the guest's server is."""
        key = os.path.join(FOLDER, "key")
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
                   "-o", f"ConnectTimeout={seconds}", "-o", "BatchMode=yes"]  # fmt: skip
        end = time.monotonic() + seconds * TIME_SCALE
        while True:
            result = subprocess.run(
                ["ssh", "-i", key, *options, "-p", str(self.port), "root@127.0.0.1", command],
                capture_output=True, text=True, timeout=max(1, end - time.monotonic()), stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if result.returncode != SSH_NO_CONNECTION or time.monotonic() > end:
                break
            time.sleep(1)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def check_floppy(self, machine, path):
        """Linux' driver reads all of it, and writes over the borders of tracks and sides."""
        machine.run("modprobe floppy && udevadm settle", 60)
        with open(path, "rb") as image:
            self.assertIn(hashlib.md5(image.read()).hexdigest(), machine.run("md5sum /dev/fd0", 120))
        machine.run("dd if=/bin/dash of=/dev/fd0 bs=1k seek=17 conv=fsync status=none", 120)
        machine.run("echo 3 >/proc/sys/vm/drop_caches", 60)
        inside = machine.run("md5sum /dev/fd0", 120)
        with open(path, "rb") as image:
            self.assertIn(hashlib.md5(image.read()).hexdigest(), inside)

    def test_boots_to_login_with_network_and_ssh(self):
        """From an overlay: the image below stays as it was made. Its C library takes the host's widest vectors."""
        self.overlay_disk()
        floppy = os.path.join(self.folder, "floppy.img")
        with open(floppy, "wb") as image:
            image.write(os.urandom(1440 << 10))
        machine = self.boot("--floppy", floppy, cpu="host")
        self.log_in(machine)
        machine.run("systemctl is-system-running --wait || systemctl --failed --no-legend", 180)
        self.assertIn("10.0.2.15", machine.run("ip -4 address show scope global", 60))
        with web_server("hello from the host's loopback") as port:
            self.assertIn("hello from the host", machine.run(f"curl -sS http://10.0.2.2:{port}/", 60))
        self.assertIn("nacre-debian", self.ssh("hostname; cat /proc/loadavg"))
        self.check_floppy(machine, floppy)
        self.power_off(machine)
        subprocess.run(["qemu-img", "check", "-q", self.disk], check=True)

    def nacre(self, *arguments):
        with tempfile.TemporaryFile() as output:  # no pipe: what goes on in the background would keep it open
            subprocess.run([NACRE, *arguments], check=True, stdin=subprocess.DEVNULL, stdout=output, timeout=60 * TIME_SCALE)

    def test_boot_goes_on_after_restores_and_in_a_clone(self):
        """Saved and restored at random moments of its boot, with two vcpus; then two machines of one."""
        self.overlay_disk()
        os.environ["NACRE_STATE"] = os.path.join(self.folder, "state")
        kernel, initrd = (os.path.join(FOLDER, name) for name in ("vmlinuz", "initrd.img"))
        self.nacre(
            "create", "one", "--kernel", kernel, "--initrd", initrd, "--append", "root=/dev/vda rw console=ttyS0 quiet",
            "--cpus", "2", "--memory", "1024M", "--disk", self.disk, "--net", f"user,hostfwd=tcp:127.0.0.1:{self.port}-:22",
        )  # fmt: skip
        self.nacre("start", "one")
        self.addCleanup(subprocess.run, [NACRE, "stop", "--force", "one"], stderr=subprocess.DEVNULL)
        moments = [random.uniform(1, 8) for _ in range(2)]
        for number, moment in enumerate(moments):
            time.sleep(moment)
            self.nacre("snapshot", "one", f"moment{number}")
            self.nacre("restore", "one", f"moment{number}")
        with self.subTest(moments=moments):
            state = self.ssh("systemctl is-system-running --wait; systemctl --failed --no-legend; touch /root/of-one", BOOT_SECONDS)
            self.assertEqual(state.strip(), "running")
            self.nacre("clone", "one", "two")
            self.addCleanup(subprocess.run, [NACRE, "stop", "--force", "two"], stderr=subprocess.DEVNULL)
            self.port += 1
            told = self.ssh("ls /root/of-one && touch /root/of-two && dmesg")
            self.assertIn("reseeded due to virtual machine fork", told)
            self.port -= 1
            self.assertNotIn("of-two", self.ssh("ls /root"))

    def test_large_file_survives_power_off(self):
        self.copy_disk()
        machine = self.boot()
        self.log_in(machine)
        # A keystream would cost more than the disk: one random MiB, each copy numbered.
        machine.run("head -c 1048568 /dev/urandom >/tmp/piece", 60)
        machine.run(f"for i in $(seq -w 1 {FILE_MIB}); do printf '%08d' 1$i; cat /tmp/piece; done >/root/large; sync", 300)
        machine.run("echo 3 >/proc/sys/vm/drop_caches", 60)
        inside = re.search(r"[0-9a-f]{64}", machine.run("sha256sum /root/large", 600))[0]
        self.power_off(machine)
        copy = self.disk + ".large"
        subprocess.run(["debugfs", "-R", f"dump /root/large {copy}", self.disk], check=True, capture_output=True)
        self.assertEqual(os.path.getsize(copy), FILE_MIB << 20)
        with open(copy, "rb") as file:
            outside = hashlib.file_digest(file, "sha256").hexdigest()
        self.assertEqual(inside, outside)
        check = subprocess.run(["e2fsck", "-fn", self.disk], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stdout)


if __name__ == "__main__":
    unittest.main()
