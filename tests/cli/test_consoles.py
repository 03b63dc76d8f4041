#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The other ends of a guest's consoles: pipes, files, pseudo-terminals, sockets, the terminal."""

import os
import pty
import re
import signal
import socket
import subprocess
import termios
import time
import unittest

from machines import DIVIDE, ECHO, ENGINES, NACRE, POWER_OFF, SECONDS, SLEEP, TRIPLE_FAULT, Case


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


if __name__ == "__main__":
    unittest.main()
