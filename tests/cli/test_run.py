#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A machine from start to end: exit codes, signals, messages, traces."""

import os
import signal
import time
import unittest

from machines import ECHO, PANIC, POWER_OFF, RESET, SECONDS, SLEEP, TRIPLE_FAULT, Case, without_notice


class Ends(Case):
    def test_power_off(self):
        self.assertEqual(self.run_guest(POWER_OFF).returncode, 0)

    def test_reboot_can_end_the_machine(self):
        self.assertEqual(self.run_guest(RESET, "--no-reboot").returncode, 0)

    def test_triple_fault(self):
        result = self.run_guest(TRIPLE_FAULT)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"triple fault", result.stderr)

    def test_panic(self):
        result = self.run_guest(PANIC)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"panic", result.stderr)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.spawn(SLEEP)
            self.read_message(process)  # the engine's line: it is up
            process.send_signal(number)
            self.assertEqual(process.wait(SECONDS), 128 + number)

    def test_statistics_at_the_end(self):
        result = self.run_guest(POWER_OFF, "--quiet", "--stats", "--cpus", "2", "--engine", "interpret")
        self.assertRegex(result.stderr, rb"(?m)^vcpu 0: instructions: [1-9][0-9]*$")
        self.assertRegex(result.stderr, rb"(?m)^vcpu 0 interpret: blocks decoded: [1-9][0-9]*$")
        self.assertRegex(result.stderr, rb"(?m)^vcpu 1: instructions: 0$")

    def test_statistics_while_it_runs(self):
        process = self.spawn(SLEEP)
        self.read_message(process)  # the engine's line: it is up
        process.send_signal(signal.SIGUSR1)
        self.assertRegex(self.read_message(process), rb"^vcpu 0: instructions: [0-9]+\r\n$")
        process.terminate()
        self.assertEqual(process.wait(SECONDS), 128 + signal.SIGTERM)

    def test_translated_code_has_names_for_perf(self):
        process = self.spawn(POWER_OFF, "--engine", "translate", "--perf-map")
        path = f"/tmp/perf-{process.pid}.map"
        self.addCleanup(os.unlink, path)
        self.assertEqual(process.wait(SECONDS), 0)
        with open(path) as file:
            self.assertRegex(file.read(), r"^([0-9a-f]+ [0-9a-f]+ guest (user|kernel) 0x[0-9a-f]+\n)+$")

    def test_engines_take_turns(self):
        text = bytes(range(32, 113)) * 4 + b"q"
        result = self.run_guest(ECHO, "--engine-switch-every", "7", stdin=None, input=text)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, text)

    def test_engine_is_named_in_one_line(self):
        lines = self.run_guest(POWER_OFF).stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], "engine (translate|interpret) .auto")


class Messages(Case):
    def read(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return without_notice(file.read()).decode()

    def test_log_file_is_appended_to(self):
        path = os.path.join(self.folder, "log")
        for _ in range(2):
            result = self.run_guest(POWER_OFF, "--log-file", path, "--name", "web-1")
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stderr, b"")
        self.assertRegex(self.read("log"), r"\A(nacre\(web-1\): engine \w+ \(.*\)\n){2}\Z")

    def test_errors_are_on_stderr_too(self):
        path = os.path.join(self.folder, "log")
        result = self.run_guest(TRIPLE_FAULT, "--log-file", path)
        self.assertEqual(result.returncode, 3)
        self.assertIn(b"triple fault", result.stderr)
        self.assertIn("triple fault", self.read("log"))

    def test_levels(self):
        for level, engine, debug in (("warning", False, False), ("info", True, False), ("debug", True, True)):
            text = self.run_guest(POWER_OFF, "--log-level", level).stderr.decode()
            self.assertEqual("engine" in text, engine, text)
            self.assertEqual("debug: the guest asks for power-off" in text, debug, text)

    def test_name_is_seen_in_process_lists(self):
        process = self.spawn(SLEEP, "--name", "db", "--cpus", "2")
        self.assertIn(b"nacre(db): engine", self.read_message(process))
        time.sleep(0.2)
        names = set()
        for task in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{task}/comm") as file:
                names.add(file.read().strip())
        self.assertLessEqual({"nacre:db", "vcpu0", "vcpu1"}, names)


class Trace(Case):
    """Each kind shows what the guest does, and nothing else is in the file."""

    def trace(self, kinds, code, status=0):
        path = os.path.join(self.folder, "trace")
        result = self.run_guest(code, "--trace", kinds, "--trace-file", path)
        self.assertEqual(result.returncode, status, result.stderr)
        with open(path) as file:
            lines = file.read().splitlines()
        for line in lines:
            self.assertRegex(line, r"^ +\d+\.\d{6} (exits|port|mmio|irq|msr|exception) ")
            self.assertIn(line.split()[1], kinds.split(","))
        return "\n".join(lines)

    def test_port(self):
        self.assertRegex(self.trace("port", POWER_OFF), r"port +write 0x604 <- 0x3400 \(2 bytes, acpi-pm\S*\)")

    def test_exits(self):
        self.assertRegex(self.trace("exits", TRIPLE_FAULT, 3), r"vcpu 0 shutdown at 0x10000[0-9a-f]")

    def test_exception(self):
        text = self.trace("exception", TRIPLE_FAULT, 3)
        self.assertRegex(text, r"vcpu 0 vector 13 error 0x1a .* at 8:0x100008")
        self.assertRegex(text, r"vector 8 ")

    def test_msr(self):
        code = bytes.fromhex("b977020000 0f32 0f30 b9efbeadde 0f32")  # PAT read and written, one that is none
        text = self.trace("msr", code, 3)
        self.assertRegex(text, r"vcpu 0 read 0x277 -> 0x7040600070406\n")
        self.assertRegex(text, r"vcpu 0 write 0x277 <- 0x7040600070406\n")
        self.assertRegex(text, r"vcpu 0 read 0xdeadbeef -> 0x0 \(refused\)")

    def test_irq(self):
        # Sends itself vector 0x40 by the local APIC; the empty IDT makes that a triple fault.
        code = bytes.fromhex("6a00 6a00 0f011c24 c705f000e0fe ff010000 c7050003e0fe 40400400 fb 90 f4")
        self.assertRegex(self.trace("irq", code, 3), r"vcpu 0 vector 0x40 from apic at 8:0x1000")


if __name__ == "__main__":
    unittest.main()
