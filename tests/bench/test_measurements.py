#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's arithmetic, and its guest program run natively with hardly any work."""

import os
import subprocess
import sys
import tempfile
import types
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "tests")]

import tables  # noqa: E402
from measurements import Run, geometric_mean, native_lines  # noqa: E402
from perf_map import PerfMap  # noqa: E402


def lines_of(test, *rounds, group="compute", checksum="1f"):
    """rounds: (seconds for all, wall by the guest's clock, wall by the host's)."""
    lines, now = [], 10.0
    for seconds, wall, host in rounds:
        lines.append((now, f"begin {test} {group} the title of {test}"))
        now += host
        lines.append((now, f"end {test} {seconds:.6f} {wall:.6f} {wall / 2:.6f} {checksum}"))
    return lines


class Measurements(unittest.TestCase):
    def test_median_and_spread(self):
        run = Run(lines_of("a", (3, 3, 3), (1, 1, 1), (2, 2, 2)))
        self.assertEqual(run.seconds("a"), 2)
        self.assertEqual(run.spread("a"), 1)
        self.assertEqual((run.tests["a"].group, run.tests["a"].title), ("compute", "the title of a"))
        self.assertFalse(run.by_host)

    def test_slow_clock_is_corrected(self):
        # A tenth of the work in what the guest takes for 1 second, and the host for 4.
        run = Run(lines_of("a", (10, 1, 4)))
        self.assertTrue(run.by_host)
        self.assertAlmostEqual(run.clock, 0.25)
        self.assertAlmostEqual(run.seconds("a"), 40)

    def test_late_lines_do_not_make_a_bad_clock(self):
        self.assertFalse(Run(lines_of("a", (0.1, 0.1, 0.12), (0.1, 0.1, 0.11))).by_host)

    def test_preparation_does_not_count(self):
        begin, end = lines_of("a", (1, 1, 1))
        self.assertAlmostEqual(Run([(0, begin[1]), (10, "ready"), (11, end[1])]).clock, 1)

    def test_rate_has_no_clock_to_check(self):
        run = Run(lines_of("a", (0.7, 0, 3)))
        self.assertFalse(run.by_host)
        self.assertEqual(run.seconds("a"), 0.7)

    def test_other_result_is_wrong(self):
        native = Run(lines_of("a", (1, 1, 1)) + lines_of("b", (1, 1, 1)))
        guest = Run(lines_of("a", (1, 1, 1)) + lines_of("b", (1, 1, 1), (1, 1, 1), checksum="2f"))
        self.assertEqual(guest.differing(native), ["b"])

    def test_failure_and_missing_end_are_errors(self):
        with self.assertRaisesRegex(AssertionError, "lost"):
            Run([(1, "begin a compute a"), (2, "bench: failed: atomic additions were lost")])
        with self.assertRaisesRegex(AssertionError, "no end of a"):
            Run([(1, "begin a compute a")])

    def test_processor_time_natively(self):
        text = "\n".join(line for _, line in lines_of("a", (10, 1, 1)))
        self.assertAlmostEqual(Run(native_lines(text, True), by_host=True).seconds("a"), 5)
        self.assertAlmostEqual(Run(native_lines(text, False)).seconds("a"), 10)

    def test_geometric_mean(self):
        self.assertAlmostEqual(geometric_mean([1, 4, 2]), 2)
        self.assertIsNone(geometric_mean([]))


class Map(unittest.TestCase):
    def test_names(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("1000 10 old name\n2000 20 guest ffffffff81000000\n1000 10 guest 401000\n")
            file.flush()
            names = PerfMap(file.name)
        self.assertEqual(names.name(0x1000), "guest 401000")
        self.assertEqual(names.name(0x201F), "guest ffffffff81000000")
        self.assertEqual([names.name(0xFFF), names.name(0x1010), names.name(0x2020)], [None] * 3)
        self.assertIsNone(PerfMap("/nonexistent").name(0x1000))


class Tables(unittest.TestCase):
    def setUp(self):
        self.native = Run(lines_of("a", (1, 1, 1)) + lines_of("b", (1, 1, 1), group="kernel"))
        self.nacre = Run(lines_of("a", (2, 2, 2)) + lines_of("b", (3, 3, 3), group="kernel"))
        self.peer = Run(lines_of("a", (8, 8, 8)) + lines_of("b", (1.5, 1.5, 1.5), group="kernel"))

    def test_columns(self):
        text = tables.comparison(self.native, {"nacre x": self.nacre, tables.PEER: self.peer})
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
        self.assertEqual(rows[0], ["test", "native s", "nacre x s", "/ native", "QEMU TCG / it", "QEMU TCG s", "/ native"])
        self.assertEqual(rows[2], ["the title of a", "1.000", "2.000", "2.00", "4.00", "8.000", "8.00"])
        self.assertEqual(rows[-1], ["geometric mean", "", "", "2.45", "1.41", "", "3.46"])

    def test_test_that_a_machine_did_not_run(self):
        partial = Run(lines_of("a", (2, 2, 2)))
        rows = tables.comparison(self.native, {"nacre x": partial}).splitlines()
        self.assertEqual(rows[3], "| the title of b | 1.000 |  |  |")

    def test_bars(self):
        section = types.SimpleNamespace(native=self.native, runs={"nacre x": self.nacre, tables.PEER: self.peer})
        rest = {"nacre x": (0.5, 80), tables.PEER: (1.5, 200)}
        startup = {name: {"first_line": {"median": start}, "at_rest": {"resident": size}} for name, (start, size) in rest.items()}
        text = "\n".join(tables.bars({"tests": section, "programs": section, "startup": startup}))
        self.assertIn("nacre x: slower than QEMU TCG: b 0.50", text)
        self.assertIn("real programs: 2.45 times native", text)
        self.assertIn("power-on to init: 0.50 s", text)
        self.assertIn("resident memory: 0.40 of QEMU TCG's", text)
        self.assertIn("compute tests over 1.3 times native: a 2.00", text)
        self.assertIn("kernel tests over 5 times native: none", text)


class GuestProgram(unittest.TestCase):
    def test_native_run(self):
        with tempfile.TemporaryDirectory() as folder:
            binary = os.path.join(folder, "bench")
            subprocess.run([os.path.join(ROOT, "guest/bench/build"), binary], check=True)

            def run(*arguments):
                output = subprocess.run([binary, *arguments], check=True, capture_output=True, text=True).stdout
                return Run([(0, line) for line in output.splitlines()])

            first, second = run("5000"), run("5000")
            self.assertGreater(len(first.tests), 20)
            self.assertEqual(first.differing(second), [])
            self.assertEqual(list(run("5000", "futex", "atomic", "alone", "parallel").tests)[0], "futex")
            self.assertIn("echo", run("--time", "echo", "title", "echo", "text").tests)
            self.assertEqual(subprocess.run([binary, "1", "nosuch"], capture_output=True).returncode, 1)


unittest.main()
