# SPDX-License-Identifier: Apache-2.0
"""The jail around a machine that runs: seen from the host, in /proc."""

import os
import re
import socket
import tempfile
import unittest

from harness.machine import EXIT_CONFIGURATION, EXIT_POWER_OFF, Machine, linux_arguments

PROMPT = r"nacre:\S+# "
BOOT_SECONDS = 60
# What /proc says of a thread inside.
INSIDE = {"Seccomp": "2", "NoNewPrivs": "1", "CapEff": "0" * 16, "CapPrm": "0" * 16}


def read(*path):
    with open(os.path.join("/proc", *map(str, path))) as file:
        return file.read()


def children_of(pid):
    return [int(child) for child in read(pid, "task", pid, "children").split()]


def open_files(pid):
    folder = f"/proc/{pid}/fd"
    return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]


GUEST_BYTES = 512 << 20  # what linux_arguments() asks for


class Jail(unittest.TestCase):
    def start(self, *more, **options):
        machine = Machine(linux_arguments(*more, append="quiet", **options))
        self.addCleanup(machine.close)
        return machine

    def check_inside(self, pid):
        for task in os.listdir(f"/proc/{pid}/task"):
            status = dict(re.findall(r"^(\w+):\s*(\S+)", read(pid, "task", task, "status"), re.MULTILINE))
            self.assertEqual({name: status[name] for name in INSIDE}, INSIDE, status["Name"])
        self.assertRegex(read(pid, "limits"), r"Max core file size\s+0\s+0")

    def check_network_process(self, pid):
        """It shares neither memory nor files with the machine, and listens where it was told to."""
        self.check_inside(pid)
        for start, end in re.findall(r"^(\w+)-(\w+) rw", read(pid, "maps"), re.MULTILINE):
            self.assertLess(int(end, 16) - int(start, 16), GUEST_BYTES)
        self.assertNotRegex(read(pid, "maps"), "vmlinuz|initramfs|disk.img|nacre-stubs")
        for name in open_files(pid):
            self.assertRegex(name, r"^(socket|anon_inode|pipe):|^/dev/null$|^/etc/|^/run/")

    def test_every_thread_is_inside(self):
        with tempfile.NamedTemporaryFile(suffix="disk.img") as disk, socket.socket() as probe:
            disk.truncate(16 << 20)
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            machine = self.start("--disk", disk.name, "--net", f"user,hostfwd=tcp:127.0.0.1:{port}-:22", cpus=2)
            machine.expect(PROMPT, BOOT_SECONDS)
            machine.run("dd if=/dev/vda of=/dev/null bs=1M; echo hello | dd of=/dev/vda conv=fsync")
            machine.run("ifconfig eth0 && blkdiscard /dev/vda")
            pid = machine.process.pid
            self.check_inside(pid)
            self.assertEqual(len(children_of(pid)), 1)
            self.check_network_process(children_of(pid)[0])
            machine.send("poweroff -f\n")
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)
            with socket.socket() as again:  # the port is free as soon as nacre has ended
                again.bind(("127.0.0.1", port))

    def test_nothing_is_forbidden_that_is_needed(self):
        machine = self.start("--jail", "log", "--net", "user")
        machine.expect(PROMPT, BOOT_SECONDS)
        machine.run("ifconfig eth0; head -c 1000 /dev/hwrng | wc -c; nslookup debian.invalid; true")
        machine.send("reboot -f\n")
        machine.expect("Restarting system", 20)
        machine.expect(PROMPT, BOOT_SECONDS)
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)
        self.assertNotIn("forbidden", machine.output)

    def test_off_is_loud(self):
        machine = self.start("--jail", "off", "--quiet")
        machine.expect("nacre: .*--jail off.*gets all your rights", 20)

    def test_unknown_mode(self):
        machine = self.start("--jail", "perhaps")
        machine.expect("--jail perhaps", 20)
        self.assertEqual(machine.wait(), EXIT_CONFIGURATION)


if __name__ == "__main__":
    unittest.main()
