# SPDX-License-Identifier: Apache-2.0
"""Disks that come and go while Debian's kernel runs."""

import os
import subprocess
import tempfile
import time
import unittest

from harness.machine import INITRAMFS, KERNEL, NACRE, TIME_SCALE

SECONDS = 60


class Attach(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.environment = {**os.environ, "NACRE_STATE": os.path.join(self.folder, "state")}

    def nacre(self, *arguments, code=0):
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [NACRE, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment,
                timeout=SECONDS * TIME_SCALE,
            )  # fmt: skip
            output.seek(0)
            text = output.read()
        self.assertEqual(done.returncode, code, text)
        return text

    def image(self, name, *more):
        path = os.path.join(self.folder, name)
        self.nacre("image", "create", path, "64M", *more)
        return path

    def wait_for(self, what, where):
        deadline = time.monotonic() + SECONDS * TIME_SCALE
        while what not in (text := where()):
            self.assertLess(time.monotonic(), deadline, text[-2000:])
            time.sleep(0.1)

    def said(self):
        return self.nacre("log", "web", "--console")

    def do(self, command):
        """A line typed into the guest's shell; waits until it has ended well."""
        self.count += 1
        self.line.stdin.write(f"{command} && echo do''ne {self.count}\n".encode())
        self.line.stdin.flush()
        self.wait_for(f"done {self.count}", self.said)

    def test_attach_use_detach(self):
        self.nacre(
            "create", "web", "--kernel", KERNEL, "--initrd", INITRAMFS, "--memory", "256M",
            "--append", "console=ttyS0 panic=-1",
        )  # fmt: skip
        self.addCleanup(subprocess.run, [NACRE, "stop", "web", "--force"], env=self.environment, stderr=subprocess.DEVNULL)
        self.nacre("start", "web")
        self.line = subprocess.Popen(
            [NACRE, "console", "web"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self.environment
        )
        self.addCleanup(self.line.wait)
        self.addCleanup(self.line.terminate)
        self.addCleanup(self.line.stdin.close)
        self.count = 0
        self.wait_for("built-in shell", self.said)
        for name in ("one.img", "two.qcow2"):
            path = self.image(name)
            self.assertIn("disk data is at 0000:00:", self.nacre("attach", "web", "--disk", path, "--id", "data"))
            self.assertIn(path, self.nacre("show", "web"))
            self.nacre("attach", "web", "--disk", path, code=2)  # it is in use
            self.do("while ! [ -e /dev/vda ]; do sleep 0.1; done")
            self.do(f"echo {name} >/dev/vda; sync; echo 3 >/proc/sys/vm/drop_caches; grep -qm1 {name} /dev/vda")
            self.assertIn("detach", self.nacre("snapshot", "web", "not-now", code=2))
            self.nacre("detach", "web", "data")
            self.do("while [ -e /dev/vda ]; do sleep 0.1; done")
            self.wait_for("device-removed", lambda: self.nacre("log", "web"))
            self.assertNotIn(path, self.nacre("show", "web"))
            raw = path + ".raw"
            self.nacre("image", "convert", path, raw, "--quiet")
            with open(raw, "rb") as file:
                self.assertEqual(file.read(len(name)), name.encode())
            os.truncate(os.path.join(self.folder, "state", "web", "events.log"), 0)
        # A reset keeps what is attached.
        self.nacre("attach", "web", "--disk", self.image("three.img"), "--readonly")
        self.nacre("reset", "web")
        os.truncate(os.path.join(self.folder, "state", "web", "console.log"), 0)
        self.wait_for("built-in shell", self.said)
        self.do("[ $(cat /sys/block/vda/ro) = 1 ]")
        based = self.image("four.qcow2", "--backing", path)
        self.assertIn("based on another image", self.nacre("attach", "web", "--disk", based, code=2))
        self.assertIn("no disk of that name", self.nacre("detach", "web", "data", code=2))


if __name__ == "__main__":
    unittest.main()
