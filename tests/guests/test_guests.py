# SPDX-License-Identifier: Apache-2.0
"""Boots each small guest of guest/system and believes what it reports on the serial port.

A guest prints "PASS name" or "FAIL name: why" for each thing it checks, then "END" and powers off.
NACRE_GUEST_RUNNER=qemu runs them under QEMU instead: to see whether a guest or nacre is wrong.
"""

import os
import unittest

from harness.machine import BUILD, ENGINES, EXIT_GUEST, EXIT_POWER_OFF, Machine

FOLDER = os.path.join(BUILD, "guest")
PROCESSORS = {"smp": 4}


def command_for(name, engine):
    image = os.path.join(FOLDER, f"guest-{name}")
    processors = str(PROCESSORS.get(name, 1))
    if os.environ.get("NACRE_GUEST_RUNNER") == "qemu":
        return "qemu-system-x86_64", [
            "-cpu", "max", "-m", "64", "-smp", processors, "-display", "none", "-serial", "stdio",
            "-no-reboot", "-kernel", image,
        ]  # fmt: skip
    return None, [
        "run", "--engine", engine, "--kernel", image, "--memory", "64M", "--cpus", processors, "--serial", "stdio",
    ]  # fmt: skip


class Guests(unittest.TestCase):
    def run_guest(self, name, engine, seconds=30):
        command, arguments = command_for(name, engine)
        with Machine(arguments, command) as machine:
            status = machine.wait(seconds)
            results = [line for _, line in machine.lines if line.startswith(("PASS", "FAIL"))]
            failures = [line for line in results if line.startswith("FAIL")]
            self.assertFalse(failures, f"{len(failures)} of {len(results)} wrong:\n" + "\n".join(failures))
            if "END" not in (line for _, line in machine.lines):
                machine.fail(f"the guest stopped after {len(results)} checks with status {status}")
            self.assertTrue(results)
            return status

    def test_triple_fault(self):
        for engine in ENGINES:
            command, arguments = command_for("triple", engine)
            with self.subTest(engine=engine), Machine(arguments, command) as machine:
                self.assertEqual(machine.wait(30), EXIT_GUEST)
                self.assertIn("about to fault three times", machine.output)


def add_guest(name, engine):
    def test(self):
        self.assertEqual(self.run_guest(name, engine), EXIT_POWER_OFF)

    setattr(Guests, f"test_{name.replace('-', '_')}_{engine}", test)


for file in sorted(os.listdir(FOLDER)) if os.path.isdir(FOLDER) else []:
    if file.startswith("guest-") and "." not in file and file != "guest-triple":
        for each in ENGINES:
            add_guest(file.removeprefix("guest-"), each)
