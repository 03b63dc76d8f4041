# SPDX-License-Identifier: Apache-2.0
"""The benchmark's tests, with little work, compute in every engine what they compute on the host."""

import os
import subprocess
import sys
import unittest

from harness.machine import ROOT, Machine

sys.path.append(os.path.join(ROOT, "bench"))

import machines  # noqa: E402
from measurements import Run, native_lines  # noqa: E402

# Short enough for CI, long enough for the translator to see hot code.
DIVISOR = 500
SMP_TESTS = "futex atomic alone parallel"


def run_native(binary, names):
    command = [binary, str(DIVISOR), *names.split()]
    return Run(native_lines(subprocess.run(command, check=True, capture_output=True, text=True).stdout, False))


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        machines.prepare()

    def check(self, names, cpus, binary=machines.BINARY):
        native = run_native(binary, names)
        for engine in machines.software_engines():
            with self.subTest(engine=engine):
                append = machines.task("tests", divisor=DIVISOR, tests=names.replace(" ", ","), binary=os.path.basename(binary))
                command = machines.Nacre(engine).command(append, cpus=cpus)
                with Machine(command[1:], command[0]) as machine:
                    machine.expect(r"^(measured|bench: failed.*)\n", 120)
                    run = Run(machine.lines)
                self.assertEqual(list(run.tests), list(native.tests))
                self.assertEqual(run.differing(native), [])

    def test_one_cpu(self):
        self.check("", 1)

    def test_32bit_program(self):
        self.check("", 1, machines.BINARY32)

    def test_32bit_threads(self):
        self.check(SMP_TESTS, 2, machines.BINARY32)

    def test_two_cpus(self):
        self.check(SMP_TESTS, 2)
