#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: bad input, exit codes, the terminal, generated documents.

Guests here are a few bytes of machine code in an ELF file with a PVH entry, made on the spot.
"""

import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NACRE = sys.argv.pop(1) if len(sys.argv) > 1 and os.path.exists(sys.argv[1]) else os.path.join(ROOT, "build", "nacre")
LOAD_ADDRESS = 0x100000
SECONDS = 30
ENGINES = [line.split()[0] for line in subprocess.run([NACRE, "run", "--engine", "help"], capture_output=True, text=True).stdout.splitlines() if "not here" not in line][1:]

SLEEP = bytes.fromhex("f4 eb fd")  # hlt; again
POWER_OFF = bytes.fromhex("66ba0406 66b80034 66ef f4 ebfd")  # S5 to PM1a control
RESET = bytes.fromhex("66baf90c b006 ee f4 ebfd")
TRIPLE_FAULT = bytes.fromhex("6a00 6a00 0f011c24 cc")  # empty IDT, breakpoint
# The FPU's own divide error, unmasked, with an empty IDT; CR4.OSFXSR, MXCSR without its masks, 1 / 0.
DIVIDE = bytes.fromhex("6a00 6a00 0f011c24 0f20e0 0d00060000 0f22e0 6a00 0fae1424 0f57c9 b801000000 f30f2ac0 f30f5ec1 f4")
PANIC = bytes.fromhex("66ba0505 b001 ee f4 ebfd")  # pvpanic
# Until 'q': waits for a character, sends it back.
ECHO = bytes.fromhex("66bafd03 ec a801 74f7 66baf803 ec ee 3c71 75ed") + POWER_OFF


def without_notice(text):
    """Builds with a sanitizer have no jail, and say so."""
    return re.sub(rb"(?m)^nacre(\([^)]*\))?: no jail .*\n", b"", text)


def guest_image(code):
    """An ELF file of one loaded segment and a note that names its start."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", LOAD_ADDRESS)
    headers = 64 + 2 * 56
    note_header = struct.pack("<IIQQQQQQ", 4, 4, headers, 0, 0, len(note), len(note), 4)
    start = headers + len(note)
    load_header = struct.pack("<IIQQQQQQ", 1, 5, start, LOAD_ADDRESS, LOAD_ADDRESS, len(code), len(code), 4096)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, LOAD_ADDRESS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    return header + note_header + load_header + note + code


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def image(self, code):
        path = os.path.join(self.folder, "guest")
        with open(path, "wb") as file:
            file.write(guest_image(code))
        return path

    def nacre(self, *arguments, **more):
        more.setdefault("stdin", subprocess.DEVNULL)
        result = subprocess.run([NACRE, *arguments], capture_output=True, timeout=SECONDS, **more)
        result.stderr = without_notice(result.stderr)
        return result

    def spawn(self, code, *arguments, **more):
        """A machine that runs beside the test, and ends with it."""
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
        command = [NACRE, "run", "--kernel", self.image(code), "--memory", "16M", *arguments]
        process = subprocess.Popen(command, **more)

        def end():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stderr):
                if pipe:
                    pipe.close()

        self.addCleanup(end)
        return process

    def read_message(self, process):
        """The next line on its standard error."""
        line = process.stderr.readline()
        return line if without_notice(line) else process.stderr.readline()

    def run_guest(self, code, *arguments, **more):
        return self.nacre("run", "--kernel", self.image(code), "--memory", "16M", *arguments, **more)


class Words(Case):
    def refuse(self, *arguments, naming):
        if arguments[-2:-1] == ("--trace-file",):
            arguments = (*arguments, "--trace", "port")
        result = self.nacre(*arguments)
        text = result.stderr.decode()
        self.assertEqual(result.returncode, 2, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn(naming, text)
        self.assertEqual(result.stdout, b"")

    def test_version_and_help(self):
        self.assertRegex(self.nacre("--version").stdout, rb"^nacre \d+\.\d+")
        for arguments in (["--help"], ["run", "--help"], ["doctor", "--help"]):
            result = self.nacre(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertIn(b"xample", result.stdout)

    def test_lists(self):
        for option, words in {
            "--engine": ["auto", "interpret"],
            "--cpu": ["x86-64-v2", "x86-64-v1", "sse4_2"],
            "--trace": ["exits", "port", "mmio", "irq", "msr", "exception"],
        }.items():
            result = self.nacre("run", option, "help")
            self.assertEqual(result.returncode, 0)
            for word in words:
                self.assertIn(word, result.stdout.decode().split())

    def test_unknown_words_get_a_suggestion(self):
        self.refuse("run", "--kernl", "x", naming="--kernel")
        self.refuse("run", "--memroy=1G", naming="--memory")
        self.refuse("run", "stray", naming="stray")
        self.refuse("rum", naming="rum")

    def test_bad_values_name_their_option(self):
        image = self.image(SLEEP)
        for option, values in {
            "--memory": ["", "0", "-1", "1", "5X", "1.5G", "99999999999999T", "4097", "512MM", "1000G"],
            "--cpus": ["", "0", "-1", "17", "2x", "99999999999999999999"],
            "--serial": ["", "tape", "file:", "file:/no/such/folder/file", "unix:", "unix:/no/such/socket", "pty:x"],
            "--console": ["", "tape", "file:", "unix:/no/such/folder/s,server", "unix:/" + "x" * 120 + ",server"],
            "--cpu": ["", "z80"],
            "--engine": ["", "steam"],
            "--engine-switch-every": ["", "0", "-1", "many", "4294967296"],
            "--code-cache": ["", "0", "4K", "1048577", "2T"],
            "--trace": ["", "everything", "port,", "port,x"],
            "--trace-file": ["", "/no/such/folder/trace"],
            "--log-level": ["", "loud"],
            "--log-file": ["", "/no/such/folder/log"],
            "--name": ["", "a b", "x" * 33, "a/b"],
        }.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.refuse("run", "--kernel", image, option, value, naming=option)

    def test_bad_disks(self):
        image = self.image(SLEEP)
        for value in ("", "/no/such/disk", image + ",format=vhd", image + ",readonly=perhaps", self.folder):
            with self.subTest(value):
                self.refuse("run", "--kernel", image, "--disk", value, naming="--disk")

    def test_missing_value(self):
        self.refuse("run", "--kernel", naming="--kernel")

    def test_switch_with_a_value(self):
        self.refuse("run", "--no-reboot=yes", naming="--no-reboot")

    def test_unreadable_kernels(self):
        self.refuse("run", naming="--kernel")
        self.refuse("run", "--kernel", "/no/such/file", naming="/no/such/file")
        self.refuse("run", "--kernel", self.folder, naming=self.folder)
        self.refuse("run", "--kernel", "/dev/null", naming="/dev/null")
        self.refuse("run", "--kernel", __file__, naming=__file__)

    def test_refused_machine_leaves_files_alone(self):
        serial = os.path.join(self.folder, "serial")
        self.refuse("run", "--kernel", "/no/such/file", "--serial", "file:" + serial, naming="/no/such/file")
        self.assertFalse(os.path.exists(serial))


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

    def test_engines_take_turns(self):
        text = bytes(range(32, 113)) * 4 + b"q"
        result = self.run_guest(ECHO, "--engine-switch-every", "7", stdin=None, input=text)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, text)

    def test_engine_is_named_in_one_line(self):
        lines = self.run_guest(POWER_OFF).stderr.decode().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("interpret", lines[0])


class Serial(Case):
    def test_pipe_is_typed_and_comes_back(self):
        text = bytes(range(32, 113)) * 40 + b"q"
        result = self.run_guest(ECHO, stdin=None, input=text)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stdout, text)

    def test_regular_file_as_input(self):
        path = os.path.join(self.folder, "input")
        with open(path, "wb") as file:
            file.write(b"from a file, q")
        with open(path, "rb") as file:
            self.assertEqual(self.run_guest(ECHO, stdin=file).stdout, b"from a file, q")

    def test_output_to_a_file(self):
        path = os.path.join(self.folder, "serial")
        code = bytes.fromhex("66baf803 b04f ee b04b ee") + POWER_OFF
        self.assertEqual(self.run_guest(code, "--serial", "file:" + path).returncode, 0)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), b"OK")

    def test_nobody_reads_the_output(self):
        reader, writer = os.pipe()
        os.close(reader)
        process = subprocess.run(
            [NACRE, "run", "--kernel", self.image(ECHO), "--memory", "16M"],
            input=b"abcq", stdout=writer, stderr=subprocess.DEVNULL, timeout=SECONDS,
        )  # fmt: skip
        os.close(writer)
        self.assertEqual(process.returncode, 0)


    def test_reader_that_stops_reading_does_not_keep_the_machine(self):
        flood = bytes.fromhex("66baf803 b041 ee ebfd")
        reader, writer = os.pipe()
        process = self.spawn(flood, stdout=writer, stderr=subprocess.DEVNULL)
        self.assertEqual(os.read(reader, 1), b"A")
        time.sleep(1)  # the pipe fills up
        process.terminate()
        self.assertEqual(process.wait(SECONDS), 128 + signal.SIGTERM)
        os.close(reader)
        os.close(writer)


    def test_input_that_has_ended_costs_nothing(self):
        """The event loop turned without end once the writer of a pipe was gone."""
        process = self.spawn(SLEEP, stdin=subprocess.PIPE)
        self.read_message(process)
        process.stdin.close()
        time.sleep(0.2)

        def ticks():
            with open(f"/proc/{process.pid}/stat") as file:
                return sum(map(int, file.read().rsplit(")")[1].split()[11:13]))

        before = ticks()
        time.sleep(1)
        used = ticks() - before
        process.terminate()
        self.assertEqual(process.wait(SECONDS), 128 + signal.SIGTERM)
        self.assertLess(used, 20)


class Consoles(Case):
    """The other ends that are not standard input and output."""

    def start(self, *arguments, code=ECHO):
        return self.spawn(code, *arguments)

    def echo(self, write, read, text):
        write(text)
        got = b""
        while len(got) < len(text):
            got += read(100)
        self.assertEqual(got, text)

    def test_pty_says_where_it_is(self):
        process = self.start("--serial", "pty")
        path = re.fullmatch(r"nacre: --serial is on (/dev/pts/\d+)", self.read_message(process).strip().decode())[1]
        for text in (b"once", b"again"):
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
            self.echo(lambda text: os.write(terminal, text), lambda size: os.read(terminal, size), text)
            os.close(terminal)
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b"q")
        os.close(terminal)
        self.assertEqual(process.wait(SECONDS), 0)

    def connect(self, path):
        connection = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + SECONDS
        while connection.connect_ex(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        return connection

    def test_unix_server_after_a_kill(self):
        path = os.path.join(self.folder, "socket")
        process = self.start("--serial", f"unix:{path},server", code=SLEEP)
        self.read_message(process)
        self.connect(path).close()
        process.kill()
        process.wait(SECONDS)
        self.assertTrue(os.path.exists(path))
        process = self.start("--serial", f"unix:{path},server")
        self.read_message(process)
        for text in (b"once", b"again, q"):
            with self.connect(path) as connection:
                self.echo(connection.sendall, connection.recv, text)
        self.assertEqual(process.wait(SECONDS), 0)
        self.assertFalse(os.path.exists(path))

    def test_unix_client(self):
        path = os.path.join(self.folder, "socket")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            process = self.start("--serial", f"unix:{path}")
            for text in (b"once", b"after a reconnect, q"):
                with server.accept()[0] as connection:
                    self.echo(connection.sendall, connection.recv, text)
            self.assertEqual(process.wait(SECONDS), 0)

    def test_a_busy_socket_is_refused(self):
        path = os.path.join(self.folder, "socket")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            result = self.run_guest(POWER_OFF, "--serial", f"unix:{path},server")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"another process", result.stderr)

    def test_one_terminal_for_two(self):
        result = self.run_guest(POWER_OFF, "--serial", "stdio", "--console", "stdio")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"--console stdio", result.stderr)


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


class Terminal(Case):
    """nacre with its standard input and output on a pseudo-terminal of its own."""

    def setUp(self):
        super().setUp()
        self.ours, self.theirs = pty.openpty()
        self.addCleanup(os.close, self.ours)
        self.addCleanup(os.close, self.theirs)
        self.before = termios.tcgetattr(self.theirs)

    def start(self, code, *arguments):
        process = self.spawn(code, *arguments, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)
        self.wait_for(lambda: not termios.tcgetattr(self.theirs)[3] & termios.ICANON)
        return process

    def wait_for(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            self.assertLess(time.monotonic(), deadline, "waited in vain")
            time.sleep(0.01)

    def check_end(self, process, status):
        self.assertEqual(process.wait(SECONDS), status)
        self.assertEqual(termios.tcgetattr(self.theirs), self.before)

    def read_until(self, text):
        got = b""
        while text not in got:
            got += os.read(self.ours, 1024)
        return got

    def test_escape_quits(self):
        process = self.start(SLEEP)
        os.write(self.ours, b"\x01x")
        self.check_end(process, 0)

    def test_escape_helps_and_can_be_typed(self):
        process = self.start(ECHO)
        os.write(self.ours, b"\x01h")
        self.read_until(b"Ctrl-A")
        os.write(self.ours, b"<\x01\x01>q")
        self.read_until(b"<\x01>q")
        self.check_end(process, 0)

    def test_restored_after_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start(SLEEP)
            process.send_signal(number)
            self.check_end(process, 128 + number)

    def test_stopped_and_continued(self):
        process = self.start(ECHO)
        process.send_signal(signal.SIGTSTP)
        self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
        self.assertEqual(termios.tcgetattr(self.theirs), self.before)
        process.send_signal(signal.SIGCONT)
        self.wait_for(lambda: not termios.tcgetattr(self.theirs)[3] & termios.ICANON)
        os.write(self.ours, b"on, q")
        self.read_until(b"on, q")
        self.check_end(process, 0)

    def test_restored_after_sudden_ends(self):
        """Also when nacre has no say any more."""
        for number in (signal.SIGABRT, signal.SIGKILL):
            process = self.start(SLEEP)
            process.send_signal(number)
            self.assertEqual(process.wait(SECONDS), -number)
            self.wait_for(lambda: termios.tcgetattr(self.theirs) == self.before)

    def test_divide_error_stays_in_the_guest(self):
        """A handler for the terminal had replaced the translator's own."""
        for engine in ENGINES:
            with self.subTest(engine=engine):
                process = self.spawn(
                    DIVIDE, "--engine", engine, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs
                )
                self.check_end(process, 3)

    def test_restored_after_triple_fault(self):
        process = self.spawn(TRIPLE_FAULT, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)
        self.check_end(process, 3)


class Documents(Case):
    def compare(self, path, *arguments):
        with open(os.path.join(ROOT, path), "rb") as file:
            self.assertEqual(
                file.read(), self.nacre(*arguments).stdout, f"stale: nacre {' '.join(arguments)} >{path}"
            )

    def test_manual_page_is_what_nacre_prints(self):
        self.compare("docs/nacre.1", "manual")

    def test_completion_is_what_nacre_prints(self):
        self.compare("completions/nacre.bash", "completion")

    def test_completion_completes(self):
        script = (
            f"source {ROOT}/completions/nacre.bash; COMP_WORDS=(nacre run --mem); COMP_CWORD=2; _nacre; "
            "echo ${COMPREPLY[*]}"
        )
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        self.assertEqual(result.stdout.split(), ["--memory"])


class Doctor(Case):
    def test_names_every_feature(self):
        result = self.nacre("doctor")
        self.assertEqual(result.returncode, 0)
        words = (
            "processors", "memory", "KVM", "huge pages", "protection keys", "userfaultfd", "io_uring", "tap networking",
            "seccomp", "Landlock", "user namespaces",
        )  # fmt: skip
        for word in words:
            self.assertRegex(result.stdout.decode(), rf"(?m)^  {word} +\S")

    def test_says_what_an_ordinary_user_gets(self):
        """Whoever may not open /dev/kvm is told so, and nacre still has an engine."""
        if os.getuid() != 0:
            self.skipTest("is an ordinary user already")
        os.chmod(self.folder, 0o755)
        copy = shutil.copy(NACRE, self.folder)
        result = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "doctor"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"nacre will use: engine \w+,")


if __name__ == "__main__":
    unittest.main()
