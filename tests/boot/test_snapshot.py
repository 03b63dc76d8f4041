# SPDX-License-Identifier: Apache-2.0
"""Machines saved at a random moment of their boot and restored in another process, under either engine."""

import os
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest

from harness.machine import EXIT_CONFIGURATION, EXIT_POWER_OFF, INITRAMFS, KERNEL, Machine, NACRE, TIME_SCALE, linux_arguments

PROMPT = r"nacre:\S+# "
BOOT_SECONDS = 60
PAUSE_MS = 300  # 100 are asked of a quiet machine: bench/snapshot measures that


class Snapshot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = os.path.join(folder.name, "saved")

    def start(self, arguments):
        machine = Machine(arguments)
        self.addCleanup(machine.close)
        return machine

    def save(self, machine):
        os.kill(machine.process.pid, signal.SIGUSR2)
        match = machine.expect(r"saved in .*: \d+ ms after a pause of ([0-9.]+) ms", 60)
        self.assertLess(float(match[1]), PAUSE_MS * TIME_SCALE)

    def restore(self, *more):
        return self.start(["run", "--restore", self.folder, "--serial", "stdio", *more])

    def finish(self, machine):
        """Whatever it was doing: it comes to its prompt, its clocks run, nothing complains, it powers off."""
        machine.send("\n")
        machine.expect(PROMPT, BOOT_SECONDS)
        before = float(machine.run("cat /proc/uptime; sleep 0.2").split("uptime; sleep 0.2")[-1].split("\n")[1].split()[0])
        after = float(re.findall(r"^([0-9.]+) [0-9.]+$", machine.run("cat /proc/uptime"), re.MULTILINE)[-1])
        self.assertGreaterEqual(after, before + 0.2)
        self.assertNotRegex(machine.run("dmesg"), r"(?i)lockup|rcu.*stall|call trace|hung task|unstable")
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(60), EXIT_POWER_OFF)

    def check_random_moment(self, first, second, cpus):
        moment = random.uniform(0.1, 4 if first == "interpret" else 1.5)
        with self.subTest(first=first, second=second, cpus=cpus, moment=moment):
            machine = self.start(linux_arguments("--engine", first, "--save", self.folder, cpus=cpus))
            time.sleep(moment * TIME_SCALE)
            self.save(machine)
            machine.close()
            self.finish(self.restore("--engine", second))

    def test_translated_then_interpreted(self):
        self.check_random_moment("translate", "interpret", 1)

    def test_interpreted_then_translated(self):
        self.check_random_moment("interpret", "translate", 1)

    def test_two_vcpus_translated(self):
        self.check_random_moment("translate", "translate", 2)

    def test_two_vcpus_interpreted_then_translated(self):
        self.check_random_moment("interpret", "translate", 2)

    def test_original_and_two_copies_go_on(self):
        """All three come from one moment, and none sees what another does."""
        original = self.start(linux_arguments("--save", self.folder, append="quiet"))
        original.expect(PROMPT, BOOT_SECONDS)
        original.run("echo before >/tmp/when")
        self.save(original)
        original.run("echo original >/tmp/when")
        copies = [self.restore(), self.restore("--engine", "interpret")]
        for copy in copies:
            self.assertIn("before", copy.run("cat /tmp/when"))
            copy.run("echo copy >/tmp/when")
        self.assertIn("original", original.run("cat /tmp/when"))
        for machine in [original, *copies]:
            self.finish(machine)

    def test_what_is_wrong_is_refused(self):
        machine = self.start(linux_arguments("--save", self.folder, memory="128M"))
        machine.expect("Linux version", BOOT_SECONDS)  # the machine is up, and its files are there
        self.assert_refused("is empty")
        self.save(machine)
        machine.close()
        self.assert_refused("the snapshot has hpet", "--no-hpet")
        self.assert_refused("has no console0", "--console", "file:/dev/null")
        self.damage("memory", lambda bytes: bytes[:1 << 20] + b"x" + bytes[1 << 20 | 1 :])
        self.assert_refused("memory is damaged", "--restore-verify")
        self.damage("memory", lambda bytes: bytes[:-1])
        self.assert_refused("memory: has 134217727 bytes")
        state = os.path.join(self.folder, "state")
        with open(state, "rb") as file:
            good = file.read()
        for change, why in (
            (lambda bytes: bytes[:-100], "was cut off"),
            (lambda bytes: bytes[:5000] + b"\xa5\x5a" + bytes[5002:], "its checksum is another"),
            (lambda bytes: bytes[:8] + b"\7" + bytes[9:], "has format 7, this nacre reads format 1"),
            (lambda bytes: b"no snapshot" * 100, "is no state of a machine"),
        ):
            self.damage("state", lambda _, change=change: change(good))
            self.assert_refused(why)

    def damage(self, name, change):
        with open(os.path.join(self.folder, name), "r+b") as file:
            changed = change(file.read())
            file.seek(0)
            file.write(changed)
            file.truncate()

    def assert_refused(self, why, *more):
        machine = self.restore(*more)
        self.assertEqual(machine.wait(20), EXIT_CONFIGURATION)
        self.assertIn(why, machine.output)


class NamedSnapshots(unittest.TestCase):
    """nacre snapshot, restore, clone: of a VM with a disk, which goes with its memory."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.environ["NACRE_STATE"] = self.state = os.path.join(folder.name, "state")
        self.disk = os.path.join(folder.name, "disk.img")
        with open(self.disk, "wb") as file:
            file.truncate(16 << 20)
        self.addCleanup(self.end_all)

    def end_all(self):
        for name in os.listdir(self.state) if os.path.isdir(self.state) else []:
            self.nacre("stop", "--force", name)

    def nacre(self, *arguments):
        with tempfile.TemporaryFile("w+") as output:  # no pipe: what goes on in the background would keep it open
            code = subprocess.run(
                [NACRE, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60 * TIME_SCALE
            ).returncode
            output.seek(0)
            return code, output.read()

    def ok(self, *arguments):
        code, output = self.nacre(*arguments)
        self.assertEqual(code, 0, f"{arguments}: {output}")
        return output

    def console(self, name):
        machine = Machine(["console", name])
        self.addCleanup(machine.close)
        machine.send("\n")
        machine.expect(PROMPT + r"(?!.*# )", BOOT_SECONDS)
        return machine

    def on_disk(self, machine):
        return re.search(r"^(\w+)-on-disk", machine.run("dd if=/dev/vda bs=64 count=1 2>/dev/null; echo"), re.MULTILINE)[1]

    def write(self, machine, word):
        machine.run(f"echo {word} >/tmp/word; echo {word}-on-disk | dd of=/dev/vda conv=fsync,notrunc 2>/dev/null")

    def test_snapshot_restore_clone(self):
        append = "console=ttyS0 panic=-1 quiet"
        disk = self.disk + ",format=raw"
        self.ok("create", "one", "--kernel", KERNEL, "--initrd", INITRAMFS, "--append", append, "--disk", disk)
        self.ok("start", "one")
        machine = self.console("one")
        self.write(machine, "first")
        pause = re.search(r"after a pause of ([0-9.]+) ms", self.ok("snapshot", "one", "before"))
        self.assertLess(float(pause[1]), PAUSE_MS * TIME_SCALE)
        self.assertRegex(self.ok("snapshot", "one"), r"^before\s")
        self.assertEqual(self.nacre("snapshot", "one", "before")[0], 2)  # there is one already
        self.write(machine, "second")
        self.assertEqual(self.on_disk(machine), "second")

        self.ok("restore", "one", "before")
        machine = self.console("one")
        self.assertEqual(self.on_disk(machine), "first")
        self.assertIn("first", machine.run("cat /tmp/word"))

        self.ok("clone", "one", "two", "three")
        self.write(machine, "origin")
        clones = [self.console(name) for name in ("two", "three")]
        for number, clone in enumerate(clones):
            self.assertEqual(self.on_disk(clone), "first")
            self.write(clone, f"clone{number}")
        for number, clone in enumerate(clones):
            self.assertEqual(self.on_disk(clone), f"clone{number}")
            self.assertIn(f"clone{number}", clone.run("cat /tmp/word"))
        self.assertEqual(self.on_disk(machine), "origin")
        with open(self.disk, "rb") as file:
            self.assertEqual(file.read(5), b"first")  # nobody has written it since the first snapshot
        self.assertEqual(self.nacre("delete", "one")[0], 2)
        self.ok("stop", "--force", "one")
        self.assertIn("based on it", self.nacre("delete", "one")[1])
        for name in ("two", "three"):
            self.ok("stop", "--force", name)
            self.ok("delete", name)
        self.ok("rename", "one", "renamed")
        self.ok("start", "renamed")  # boots anew, from the disk as it is now
        self.assertEqual(self.on_disk(self.console("renamed")), "origin")
        self.ok("restore", "renamed", "before")
        self.assertEqual(self.on_disk(self.console("renamed")), "first")
        self.ok("snapshot", "renamed", "three")
        self.ok("snapshot", "renamed", "before", "--delete")
        self.assertRegex(self.ok("snapshot", "renamed"), r"\A(three|two)\s")
        code, output = self.nacre("restore", "renamed", "before")
        self.assertEqual(code, 2)
        self.assertIn("has no snapshot before", output)
        self.assertIn("Running", self.ok("list"))  # it was not stopped in vain
        self.ok("restore", "renamed", "three")  # stands on images of the deleted one
        self.assertEqual(self.on_disk(self.console("renamed")), "first")
        self.ok("stop", "--force", "renamed")
        self.ok("delete", "renamed")
        self.assertEqual(os.listdir(self.state), [])


if __name__ == "__main__":
    unittest.main()
