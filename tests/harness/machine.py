# SPDX-License-Identifier: Apache-2.0
"""A virtual machine under test: starts nacre, talks to its serial console, and never leaves it running."""

import os
import re
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build"))
NACRE = os.environ.get("NACRE", os.path.join(BUILD, "nacre"))
CACHE = os.path.join(ROOT, "guest", "cache")
KERNEL = os.path.join(CACHE, "vmlinuz")
INITRAMFS = os.path.join(CACHE, "initramfs.gz")

# Slow hosts multiply every time limit by this.
TIME_SCALE = float(os.environ.get("NACRE_TEST_TIME_SCALE", "1"))

ENGINES = ("translate", "interpret")  # what must hold under each is tested under each

EXIT_POWER_OFF, EXIT_CONFIGURATION, EXIT_GUEST = 0, 2, 3


class Machine:
    """nacre with its standard input and output on pipes. Use it in a `with` block."""

    def __init__(self, arguments, command=None, clock=None):
        """clock(pid): what stamps the lines, in place of the seconds since the start."""
        self.command = [command or NACRE] + list(arguments)
        self.started = time.monotonic()
        self.output = ""
        self.position = 0  # where expect() goes on
        self.lines = []  # (stamp, line), for those who measure
        self.clock = clock or (lambda _: time.monotonic() - self.started)
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            # It dies with this process, also when that is killed.
            ["setpriv", "--pdeathsig", "KILL", *self.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.close()
        # The guest does not notice: the interpreter carries it on. It is a fault of the translator all the same.
        if kind is None and "refused its own code" in self.output:
            self.fail("the code checker refused a translation")

    def _read(self):
        pending = ""
        while data := os.read(self.process.stdout.fileno(), 65536):
            text = data.decode("utf-8", "replace").replace("\r", "")
            now = self.clock(self.process.pid)
            *lines, pending = (pending + text).split("\n")
            with self.changed:
                self.output += text
                self.lines += [(now, line) for line in lines]
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def fail(self, why):
        tail = "\n    ".join(self.output.splitlines()[-25:])
        raise AssertionError(f"{why}\n  command: {' '.join(self.command)}\n  its last output:\n    {tail}")

    def expect(self, pattern, seconds=60):
        """Waits for a regular expression in what has not been matched yet; returns the match."""
        deadline = time.monotonic() + seconds * TIME_SCALE
        expression = re.compile(pattern, re.MULTILINE)
        with self.changed:
            while not (match := expression.search(self.output, self.position)):
                if not self.reader.is_alive():
                    self.fail(f"ended with status {self.process.wait()} and no {pattern!r} in its output")
                left = deadline - time.monotonic()
                if left <= 0:
                    self.fail(f"no {pattern!r} within {seconds * TIME_SCALE:.0f} s")
                self.changed.wait(min(left, 0.5))
        self.position = match.end()
        return match

    def send(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def run(self, command, seconds=60):
        """Runs a shell command in the guest; returns its output. Fails unless it ends with status 0."""
        # The quotes keep the echo of the command line from looking like its result.
        self.send(f"{command}; echo st''atus=$?=\n")
        start = self.position
        match = self.expect(r"^(.*)status=(\d+)=$", seconds)
        if match[2] != "0":
            self.fail(f"{command!r} ended with status {match[2]}")
        return self.output[start : match.start()] + match[1]

    def wait(self, seconds=60):
        """Waits for nacre to end; returns its exit status."""
        try:
            status = self.process.wait(seconds * TIME_SCALE)
        except subprocess.TimeoutExpired:
            self.fail(f"still running after {seconds * TIME_SCALE:.0f} s")
        self.reader.join(5)
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass


def proportional_megabytes(pid, guest_megabytes):
    """(guest memory, everything else): pages mapped twice, and libraries and snapshots in use elsewhere, count once.
    Nothing but guest memory is as large and may be written."""
    guest = other = 0
    with open(f"/proc/{pid}/smaps") as file:
        is_guest = False
        for line in file:
            if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) ", line):
                size = int(match[2], 16) - int(match[1], 16)
                is_guest = size >= guest_megabytes << 20 and match[3].startswith("rw")
            elif line.startswith("Pss:"):
                size = int(line.split()[1]) / 1024
                if is_guest:
                    guest += size
                else:
                    other += size
    return guest, other


def linux_arguments(*more, append="", cpus=1, memory="512M", kernel=KERNEL, initrd=INITRAMFS):
    """`nacre run` for a kernel (the cloud kernel) with the small initramfs and its console on our pipes."""
    return [
        "run", "--kernel", kernel, "--initrd", initrd, "--serial", "stdio",
        "--cpus", str(cpus), "--memory", memory,
        "--append", f"console=ttyS0 panic=-1 {append}".strip(), *more,
    ]  # fmt: skip
