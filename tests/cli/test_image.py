#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nacre image, with qemu-img as the other opinion. Arguments: the nacre to test."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

NACRE = os.path.abspath(sys.argv.pop(1))


class Image(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.addCleanup(shutil.rmtree, self.folder)

    def run_in(self, *command, code=0):
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, code, f"{command}\n{result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def nacre(self, *words, code=0):
        return self.run_in(NACRE, "image", *words, code=code)

    def qemu_io(self, file, *commands):
        self.run_in("qemu-io", "-f", "qcow2" if file.endswith("qcow2") else "raw", "-t", "unsafe",
                    *[word for command in commands for word in ("-c", command)], file)  # fmt: skip

    def same(self, one, other):
        self.run_in("qemu-img", "compare", "-q", one, other)

    def sound(self, *files):
        for file in files:
            self.run_in("qemu-img", "check", "-q", file)
            self.assertIn(" 0 corrupt, 0 leaked", self.nacre("check", file))

    def test_create_and_info(self):
        self.nacre("create", "a.qcow2", "1G", "--cluster-size", "4K", "--refcount-bits", "8", "--lazy-refcounts")
        text = self.nacre("info", "a.qcow2")
        for part in ("qcow2", "1.0 GiB", "clusters of 4096", "refcounts of 8 bits", "lazy refcounts"):
            self.assertIn(part, text)
        self.sound("a.qcow2")
        self.assertIn("exists", self.nacre("create", "a.qcow2", "1G", code=2))
        self.nacre("create", "a.qcow2", "2M", "--replace", "--qcow2-version", "2")
        self.sound("a.qcow2")
        self.nacre("create", "b.img", "3M")
        self.assertEqual(os.path.getsize(os.path.join(self.folder, "b.img")), 3 << 20)

    def test_refusals(self):
        for words, why in (
            (["create", "a.qcow2"], "how large"),
            (["create", "a.qcow2", "many"], "is not a size"),
            (["create", "a.qcow2", "1M", "--cluster-size", "3000"], "power of two"),
            (["create", "a.qcow2", "--backing", "missing.qcow2"], "missing.qcow2"),
            (["create", "a.img", "1M", "--backing", "a.img"], "only a qcow2"),
            (["info", "missing.img"], "missing.img"),
            (["frobnicate"], "unknown command"),
            (["convert", "a.img"], "usage"),
        ):
            self.assertIn(why, self.nacre(*words, code=2))

    def test_convert_both_ways(self):
        self.run_in("qemu-img", "create", "-q", "-f", "raw", "raw.img", "5M")
        self.qemu_io("raw.img", "write -P 1 0 70k", "write -P 2 1000k 1", "write -P 3 5100k 20k")
        self.nacre("convert", "raw.img", "a.qcow2")
        self.sound("a.qcow2")
        self.same("raw.img", "a.qcow2")
        self.nacre("convert", "a.qcow2", "back.img")
        self.same("raw.img", "back.img")
        self.assertLess(os.stat(os.path.join(self.folder, "back.img")).st_blocks * 512, 1 << 20)
        self.run_in("qemu-img", "convert", "-c", "-O", "qcow2", "raw.img", "packed.qcow2")
        self.assertIn("packed", self.nacre("map", "packed.qcow2"))
        self.nacre("convert", "packed.qcow2", "unpacked.qcow2")
        self.same("raw.img", "unpacked.qcow2")

    def chain(self):
        self.nacre("create", "base.qcow2", "4M")
        self.qemu_io("base.qcow2", "write -P 1 0 1M")
        self.nacre("create", "middle.qcow2", "--backing", "base.qcow2")
        self.qemu_io("middle.qcow2", "write -P 2 100k 200k", "write -z 512k 64k")
        self.nacre("create", "top.qcow2", "--backing", "middle.qcow2")
        self.qemu_io("top.qcow2", "write -P 3 3M 4k", "discard 640k 64k")
        self.nacre("convert", "top.qcow2", "flat.img")
        self.same("flat.img", "top.qcow2")

    def test_map_shows_whose_data_it_is(self):
        self.chain()
        lines = [line.split() for line in self.nacre("map", "top.qcow2").splitlines()[1:]]
        found = {(line[2], line[4], line[5]) for line in lines}
        self.assertIn(("data", "0", "top.qcow2"), found)
        self.assertIn(("data", "1", "middle.qcow2"), found)
        self.assertIn(("zero", "1", "middle.qcow2"), found)
        self.assertIn(("data", "2", "base.qcow2"), found)
        self.assertEqual(sum(int(line[1], 16) for line in lines), 4 << 20)

    def test_commit(self):
        self.chain()
        self.nacre("commit", "top.qcow2")
        self.sound("top.qcow2", "middle.qcow2")
        self.same("flat.img", "top.qcow2")
        self.same("flat.img", "middle.qcow2")
        self.assertNotIn("top.qcow2", self.nacre("map", "top.qcow2").split("file", 2)[2])

    def test_rebase(self):
        self.chain()
        self.nacre("rebase", "--backing", "base.qcow2", "top.qcow2")
        self.sound("top.qcow2")
        self.same("flat.img", "top.qcow2")
        self.assertIn("base.qcow2", self.nacre("info", "top.qcow2"))
        self.nacre("rebase", "top.qcow2")
        self.assertNotIn("backing", self.nacre("info", "top.qcow2"))
        self.same("flat.img", "top.qcow2")
        self.sound("top.qcow2")

    def test_resize(self):
        self.chain()
        self.assertIn("--shrink", self.nacre("resize", "top.qcow2", "1M", code=2))
        self.nacre("resize", "top.qcow2", "1M", "--shrink")
        self.nacre("resize", "top.qcow2", "+4M")
        self.sound("top.qcow2")
        self.run_in("qemu-img", "resize", "-q", "-f", "raw", "--shrink", "flat.img", "1M")
        self.run_in("qemu-img", "resize", "-q", "-f", "raw", "flat.img", "5M")
        self.same("flat.img", "top.qcow2")

    def test_snapshots(self):
        self.chain()
        self.nacre("snapshot", "create", "top.qcow2", "before")
        self.qemu_io("top.qcow2", "write -P 9 0 4M")
        self.assertIn("before", self.nacre("info", "top.qcow2"))
        self.nacre("snapshot", "apply", "top.qcow2", "before")
        self.same("flat.img", "top.qcow2")
        self.nacre("snapshot", "delete", "top.qcow2", "before")
        self.sound("top.qcow2")
        self.assertIn("no snapshot", self.nacre("snapshot", "delete", "top.qcow2", "before", code=2))

    def test_check_finds_and_repairs(self):
        self.chain()
        with open(os.path.join(self.folder, "top.qcow2"), "r+b") as file:
            file.seek(2 * 65536)  # the refcount block: the header's own count
            file.write(b"\0\5")
        self.assertIn("1 leaked", self.nacre("check", "top.qcow2", code=1))
        self.assertIn("1 repaired", self.nacre("check", "--repair", "leaks", "top.qcow2"))
        self.sound("top.qcow2")


if __name__ == "__main__":
    unittest.main()
