# SPDX-License-Identifier: Apache-2.0
"""The screen, as its users see it: the terminal, VNC clients, screenshots; and keys on their way to a kernel."""

import os
import re
import struct
import subprocess
import tempfile
import unittest
import zlib

from harness.firmware import grub_bios_disk
from harness.machine import BUILD, ENGINES, EXIT_CONFIGURATION, INITRAMFS, KERNEL, NACRE, Machine
from harness.terminal import Terminal
from harness.vnc import Refused, VncClient

LINUX = ["--kernel", KERNEL, "--initrd", INITRAMFS, "--memory", "256M", "--append", "console=tty0 quiet"]
PROMPT = "nacre:/root#"


class View(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def read(self, path):
        with open(path) as file:
            return file.read()

    def password_file(self, text):
        path = os.path.join(self.folder, "password")
        with open(path, "w") as file:
            file.write(text)
        return path


class TextView(View):
    def test_terminal(self):
        """Linux's console in the terminal, and keys back, under each engine."""
        for engine in ENGINES:
            with self.subTest(engine), Machine(["run", *LINUX, "--engine", engine, "--display", "text"]) as machine:
                terminal = Terminal(machine)
                terminal.expect(PROMPT, 120)
                machine.send("echo Six times $((7 * 6)) is more | tr a-z A-Z\r")
                terminal.expect("^SIX TIMES 42 IS MORE$")
                machine.send("sleep 100\r")
                terminal.expect("sleep 100$")
                machine.send("\x03echo st''opped\r")  # Ctrl-C
                terminal.expect("^stopped$")
                machine.send("\x1b[A\x1b[D\x1b[D!\r")  # the last line again, changed
                terminal.expect("^stopp!ed$")
                machine.send("cat /proc/bus/input/devices | grep -E '(AT|PS/2)'\r")
                terminal.expect("AT Translated Set 2 keyboard")
                machine.send("poweroff -f\r")
                self.assertEqual(machine.wait(), 0)


class VncView(View):
    def connect(self, machine, **more):
        port = int(machine.expect(r"VNC on 127\.0\.0\.1 port (\d+)$", 20)[1])
        return VncClient(port, **more)

    def run_vnc(self, *more, where="127.0.0.1:0"):
        return Machine(["run", *LINUX, "--display", f"vnc={where}", "--serial", "stdio", *more])

    def test_picture_and_keys(self):
        with self.run_vnc() as machine, self.connect(machine) as client:
            client.wait_for(lambda: (client.width, client.height) == (720, 400) and client.lit() > 2500)
            client.type("echo Keys arrived $((6 * 7)) > /dev/ttyS0\n")
            machine.expect(r"^Keys arrived 42$", 60)
            client.type("printf '\\033[41m\\033[2J'\n")
            client.wait_for(lambda: client.dot(700, 300) == (170, 0, 0))

    def test_password(self):
        path = self.password_file("secret\n")
        with self.run_vnc(where=f"127.0.0.1:0,password-file={path}") as machine:
            port = int(machine.expect(r"VNC on 127\.0\.0\.1 port (\d+)$", 20)[1])
            with self.assertRaises(Refused):
                VncClient(port)
            with self.assertRaises(Refused):
                VncClient(port, password="wrong")
            with VncClient(port, password="secret") as client:
                client.update()
                self.assertGreaterEqual(client.width, 640)

    def test_clients_that_misbehave(self):
        """Half a message, nonsense, a slow reader: the machine and the next client do not notice."""
        with self.run_vnc() as machine:
            port = int(machine.expect(r"VNC on 127\.0\.0\.1 port (\d+)$", 20)[1])
            for rubbish in (b"RFB", b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 4000):
                client = VncClient(port)
                client.socket.sendall(rubbish)
                client.socket.close()
            with VncClient(port) as greedy:
                greedy.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, 65535, 65535) * 50)
                with VncClient(port) as client:
                    client.update()
            self.assertIsNone(machine.process.poll())
            self.assertNotIn("VNC server's process has ended", machine.output)

    def test_own_process(self):
        """It may look at video memory and no more; nothing else of the machine's is there."""
        with self.run_vnc() as machine, self.connect(machine):
            servers = [
                pid
                for pid in subprocess.run(["ps", "-o", "pid=", "--ppid", str(machine.process.pid)], capture_output=True, text=True).stdout.split()
                if self.read(f"/proc/{pid}/comm") == "nacre-vnc\n"
            ]
            self.assertEqual(len(servers), 1)
            text = self.read(f"/proc/{servers[0]}/status")
            self.assertRegex(text, r"(?m)^Seccomp:\s+2$")
            self.assertRegex(text, r"(?m)^CapEff:\s+0+$")
            shared = [line for line in self.read(f"/proc/{servers[0]}/maps").splitlines() if "zero" in line]
            self.assertEqual([line.split()[1] for line in shared], ["r--s"])

    def test_refusals(self):
        for text, why in (
            ("vnc=0.0.0.0:5901", "password-file"),
            ("vnc=[::]:5901", "password-file"),
            ("vnc=192.0.2.1:5901", "password-file"),
            ("vnc=127.0.0.1", "ADDRESS:PORT"),
            ("vnc=127.0.0.1:65536", "ADDRESS:PORT"),
            ("vnc=example.org:5901", "ADDRESS:PORT"),
            ("vnc=127.0.0.1:5901,password=x", "password-file"),
            ("vnc=127.0.0.1:5901,password-file=/no/such/file", "/no/such/file"),
            (f"vnc=127.0.0.1:5901,password-file={self.password_file('more than eight')}", "1 to 8"),
            ("vnc", "must be"),
            ("sdl", "must be"),
            ("text,password-file=x", "no settings"),
        ):
            done = subprocess.run([NACRE, "run", *LINUX, "--display", text], capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, EXIT_CONFIGURATION, text)
            self.assertRegex(done.stderr, rf"(?m)^nacre: --display[^\n]*{re.escape(why)}", text)


def read_png(path):
    """Width, height and rows of (red, green, blue) bytes, with the checksums looked at."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    position, packed, size = 8, b"", None
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", data[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack(">IIBBBBB", body)
        packed += body if kind == b"IDAT" else b""
        position += 12 + length
    width, height, depth, colour = size[:4]
    assert (depth, colour) == (8, 2)
    plain, rows, before = zlib.decompress(packed), [], bytes(width * 3)
    for row in range(height):
        start = row * (width * 3 + 1)
        before = unfilter(plain[start], plain[start + 1 : start + 1 + width * 3], before)
        rows.append(before)
    return width, height, rows


def unfilter(kind, line, above):
    """A row of a PNG without its filter; 3 bytes a dot."""
    row = bytearray(line)
    for i in range(len(row)):
        left, corner = (row[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        nearest = min((left, above[i], corner), key=lambda value: abs(left + above[i] - corner - value))
        row[i] = (row[i] + (0, left, above[i], (left + above[i]) // 2, nearest)[kind]) & 255
    return bytes(row)


class Screenshot(View):
    def nacre(self, *arguments):
        environment = {**os.environ, "NACRE_STATE": self.folder}
        return subprocess.run([NACRE, *arguments], capture_output=True, text=True, env=environment, timeout=60)

    def start(self, *arguments):
        self.assertEqual(self.nacre("create", "vm", *arguments, "--display", "none").stderr, "")
        self.addCleanup(self.nacre, "stop", "vm", "--force")
        self.in_background("start", "vm")

    def in_background(self, *arguments):
        # Not captured: the machine would keep the pipes.
        subprocess.run([NACRE, *arguments], env={**os.environ, "NACRE_STATE": self.folder}, check=True, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def shot(self):
        path = os.path.join(self.folder, "shot.png")
        self.assertEqual(self.nacre("screenshot", "vm", path).stderr, "")
        return read_png(path)

    def wait_for_dots(self, size, *dots):
        """Until the screen has this size and these (x, y, colour)."""
        for _ in range(400):
            width, height, rows = self.shot()
            found = [(x, y, rows[y][x * 3 : x * 3 + 3].hex()) for x, y, _ in dots] if (width, height) == size else []
            if found == list(dots):
                return
        raise AssertionError(f"the screen of {width}x{height} has {found} in place of {dots} of {size}")

    def wait_for(self, pattern):
        for _ in range(400):
            text = self.nacre("screenshot", "vm", "--text").stdout
            if re.search(pattern, text, re.MULTILINE):
                return text
        raise AssertionError(f"no {pattern!r} on the screen:\n{text}")

    def test_named_machine(self):
        """nacre screenshot, type and key."""
        self.start(*LINUX)
        self.wait_for(PROMPT)
        self.assertEqual(self.nacre("type", "vm", "echo Typed: {$((6*7))}!", "--enter").returncode, 0)
        self.wait_for(r"^Typed: \{42\}!$")
        self.assertEqual(self.nacre("key", "vm", "ctrl-l").returncode, 0)  # clears
        text = self.wait_for(rf"\A{PROMPT}$")
        self.assertNotIn("Typed", text)
        width, height, rows = self.shot()
        self.assertEqual((width, height), (720, 400))
        self.assertEqual(set(rows[20]), {0})  # below the first line of text all is black
        self.assertEqual(set(b"".join(rows[:16])), {0, 170})
        self.assertIn("no such key", self.nacre("key", "vm", "ctrl-x-nonsense").stderr)
        self.assertIn("ASCII", self.nacre("type", "vm", "ä").stderr)
        # Screen and keyboard are part of a snapshot.
        self.nacre("type", "vm", "echo be'fo're", "--enter")
        self.wait_for("^before$")
        self.assertEqual(self.nacre("snapshot", "vm", "one").stderr, "")
        self.nacre("stop", "vm", "--force")
        self.in_background("restore", "vm", "one")
        self.wait_for("^before$")
        self.nacre("type", "vm", "echo af'te'r", "--enter")
        self.wait_for("^after$")

    def test_modes_of_the_vga_bios(self):
        """Text, planar, 256 colours and VBE, set and drawn to by a boot sector through SeaBIOS."""
        disk = os.path.join(self.folder, "modes.img")
        with open(os.path.join(BUILD, "guest", "guest-modes.bin"), "rb") as sector, open(disk, "wb") as image:
            image.write(sector.read())
            image.truncate(1 << 20)
        self.start("--firmware", "bios", "--memory", "32M", "--disk", disk)
        self.wait_for("^Modes of a VGA: text$")
        for size, *dots in (
            ((640, 480), (0, 0, "aa00aa"), (639, 15, "aa00aa"), (0, 16, "000000"), (100, 200, "ffff55"), (101, 200, "000000")),
            ((320, 200), (0, 1, "0000aa"), (319, 2, "00aa00"), (0, 15, "ffffff")),
            ((640, 480), (255, 102, "000000"), (256, 102, "ff5555"), (615, 103, "ff5555"), (616, 103, "000000")),
            ((1024, 768), (0, 0, "204060"), (1023, 0, "204060"), (0, 1, "000000")),
        ):
            self.nacre("key", "vm", "space")
            self.wait_for_dots(size, *dots)
        self.nacre("key", "vm", "space")
        self.wait_for("^Modes of a VGA: text$")

    def test_boot_menu(self):
        """GRUB's menu, by the cursor keys."""
        disk = os.path.join(self.folder, "disk.img")
        grub_bios_disk(disk, 'set timeout=-1\nmenuentry "the one" { sleep 100 }\nmenuentry "the other" { echo chosen; sleep 100 }')
        self.start("--firmware", "bios", "--memory", "64M", "--disk", disk)
        self.wait_for(r"^ *[│|]\*the one +[│|]$")
        self.nacre("key", "vm", "down")
        self.wait_for(r"^ *[│|]\*the other +[│|]$")
        width, height, rows = self.shot()
        self.assertGreater(sum(byte == 170 for row in rows for byte in row), 10000)  # the bar of the chosen line
        self.nacre("key", "vm", "enter")
        self.wait_for("chosen")


if __name__ == "__main__":
    unittest.main()
