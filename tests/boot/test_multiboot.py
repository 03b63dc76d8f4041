# SPDX-License-Identifier: Apache-2.0
"""Multiboot kernels of a few bytes, which end by the test device with what they have found."""

import os
import struct
import tempfile
import unittest

from harness.machine import ENGINES, EXIT_CONFIGURATION, Machine

LOAD = 0x100000
# mov edx, 0xf4; EAX's number; out dx, eax; hlt; again
END = bytes.fromhex("baf4000000 ef f4 ebfd")
LOADER_MAGIC = END  # EAX as the loader left it
MODULE_COUNT = bytes.fromhex("8b4314") + END  # mov eax, [ebx + 20]
MODULE_BYTE = bytes.fromhex("8b4318 8b00 0fb600") + END  # of the list's first module the first byte
MODULE_WORDS = bytes.fromhex("8b4318 8b4018 0fb600") + END  # the first letter of the second's
INFO_SIZE_SANE = bytes.fromhex("8b03 83e007") + END  # a multiple of 8


def exit_code(number):
    return (number << 1 | 1) & 0xFF


def header1(flags, *words):
    magic = 0x1BADB002
    return struct.pack(f"<III{len(words)}I", magic, flags, -(magic + flags) & 0xFFFFFFFF, *words)


def header2(*tags):
    magic, body = 0xE85250D6, b"".join(tag + b"\0" * (-len(tag) % 8) for tag in tags)
    length = 16 + len(body) + 8
    return struct.pack("<IIII", magic, 0, length, -(magic + length) & 0xFFFFFFFF) + body + struct.pack("<HHI", 0, 0, 8)


def flat1(code):
    """No ELF file: the header says where the bytes go."""
    start = LOAD + 32
    return header1(1 << 16, LOAD, LOAD, 0, LOAD + 0x2000, start) + code


def elf32(header, code):
    at = 52 + 32 + 4  # headers of version 2 lie on multiples of 8
    entry = 0xC0000000 + at + len(header)  # linked high, loaded low
    size = len(header) + len(code)
    file = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, entry, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return file + struct.pack("<IIIIIIII", 1, at, 0xC0000000 + at, LOAD + at, size, size + 0x1000, 7, 1) + b"\0" * 4 + header + code


def elf64(header, code):
    at = 64 + 56
    entry, size = LOAD + at + len(header), len(header) + len(code)
    file = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return file + struct.pack("<IIQQQQQQ", 1, 7, at, LOAD + at, LOAD + at, size, size, 1) + header + code


class Multiboot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_kernel(self, image, *arguments):
        kernel = self.file("kernel", image)
        machine = Machine(["run", "--quiet", "--kernel", kernel, "--test-device", "--memory", "16M", *arguments])
        self.addCleanup(machine.close)
        return machine

    def test_every_shape_starts(self):
        version1, version2 = exit_code(0x2BADB002), exit_code(0x36D76289)
        shapes = {
            "flat": (flat1(LOADER_MAGIC), version1),
            "elf32": (elf32(header1(3), LOADER_MAGIC), version1),
            "elf64": (elf64(header1(0), LOADER_MAGIC), version1),
            "elf32 of version 2": (elf32(header2(), LOADER_MAGIC), version2),
            "elf64 of version 2": (elf64(header2(struct.pack("<HHII", 1, 0, 12, 6)), LOADER_MAGIC), version2),
            "flat of version 2": (
                header2(struct.pack("<HHIIIII", 2, 0, 24, LOAD, LOAD, 0, 0), struct.pack("<HHII", 3, 0, 12, LOAD + 64)).ljust(64, b"\0")
                + LOADER_MAGIC,
                version2,
            ),
        }
        for engine in ENGINES:
            for name, (image, code) in shapes.items():
                with self.subTest(engine=engine, shape=name):
                    self.assertEqual(self.run_kernel(image, "--engine", engine).wait(20), code)

    def test_modules(self):
        first, second = self.file("first", b"\x2a" * 5000), self.file("second", b"y")
        modules = ("--initrd", first, "--module", f"{second} with words")
        for code, number in ((MODULE_COUNT, 2), (MODULE_BYTE, 0x2A), (MODULE_WORDS, ord("/"))):
            with self.subTest(number=number):
                self.assertEqual(self.run_kernel(elf32(header1(1), code), *modules).wait(20), exit_code(number))
        image = elf32(header2(), INFO_SIZE_SANE)
        self.assertEqual(self.run_kernel(image, *modules).wait(20), exit_code(0))

    def test_what_cannot_be_had_is_refused(self):
        module = self.file("module", b"x")
        cases = (
            (elf32(header1(4), b""), [], "video mode"),
            (elf32(header2(struct.pack("<HHII", 1, 0, 12, 8)), b""), [], "type 8"),
            (elf32(header2(struct.pack("<HHI", 9, 0, 8)), b""), [], "tag 9"),
            (elf32(header2(struct.pack("<HHI", 9, 0, 4)), b""), [], "damaged"),
            (b"\x7fELF" + b"\0" * 100, ["--module", module], "takes none"),
            (header1(0) + b"\0" * 100, [], "no ELF file"),
            (header1(1 << 16, LOAD, LOAD + 4, 0, 0, LOAD), [], "addresses"),
            (elf32(header1(1), b""), ["--module", self.file("large", b"z" * (17 << 20))], "more --memory"),
            (elf32(header1(1), b""), ["--module", "/no/such/file words"], "/no/such/file: No such"),
        )
        for image, arguments, why in cases:
            with self.subTest(why=why):
                machine = self.run_kernel(image, *arguments)
                machine.expect(why, 5)
                self.assertEqual(machine.wait(), EXIT_CONFIGURATION)


if __name__ == "__main__":
    unittest.main()
