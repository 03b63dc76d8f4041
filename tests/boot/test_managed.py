# SPDX-License-Identifier: Apache-2.0
"""A day of a Debian with a name: made from a cloud image, set up by cloud-init, reached by ssh, paused, stopped by its power button."""

import json
import os
import subprocess
import tempfile
import time
import unittest

from boot.test_debian import free_port
from harness.machine import CACHE, NACRE, ROOT, TIME_SCALE

FOLDER = os.path.join(CACHE, "cloud")
SSH_SECONDS = 240
USER_DATA = """#cloud-config
hostname: day
manage_etc_hosts: true
locale: false
users:
  - name: ada
    shell: /bin/bash
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    ssh_authorized_keys: ["{key}"]
runcmd: [[touch, /run/first-boot]]
"""


class Managed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["scripts/make-cloud-image"], cwd=ROOT, check=True)

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=CACHE)
        self.addCleanup(folder.cleanup)
        self.folder = os.path.realpath(folder.name)
        self.environment = {**os.environ, "NACRE_STATE": os.path.join(self.folder, "state")}
        self.key = os.path.join(self.folder, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)

    def user_data(self):
        path = os.path.join(self.folder, "user-data")
        with open(path, "w") as file, open(self.key + ".pub") as key:
            file.write(USER_DATA.format(key=key.read().strip()))
        return path

    def nacre(self, *arguments, seconds=60):
        # Into files: what runs on in the background must not keep a pipe open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            result = subprocess.run(
                [NACRE, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.environment,
                timeout=seconds * TIME_SCALE,
            )  # fmt: skip
            for stream in (out, err):
                stream.seek(0)
            self.assertEqual((result.returncode, err.read()), (0, ""), arguments)
            return out.read()

    def curl(self, path):
        socket = os.path.join(self.folder, "state", "day", "api.sock")
        return subprocess.run(
            ["curl", "-sS", "--unix-socket", socket, f"http://localhost{path}"], capture_output=True, text=True, check=True
        ).stdout

    def execute(self, *command):
        return self.nacre("exec", "day", "--user", "ada", "--identity", self.key, "--", *command, seconds=SSH_SECONDS)

    def wait_for_ssh(self):
        deadline = time.monotonic() + SSH_SECONDS * TIME_SCALE
        while True:
            try:
                return self.execute("true")
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def test_day(self):
        self.nacre(
            "create", "day", "--image", os.path.join(FOLDER, "disk.img"), "--cloud-init", self.user_data(),
            "--kernel", os.path.join(FOLDER, "vmlinuz"), "--initrd", os.path.join(FOLDER, "initrd.img"),
            "--append", "root=/dev/vda rw console=ttyS0 quiet", "--cpus", "2", "--memory", "1G",
            "--net", f"user,hostfwd=tcp:127.0.0.1:{free_port()}-:22",
        )  # fmt: skip
        self.addCleanup(subprocess.run, [NACRE, "stop", "day", "--force"], env=self.environment, stderr=subprocess.DEVNULL)
        self.nacre("start", "day")
        self.wait_for_ssh()
        self.assertEqual(self.execute("sh", "-c", "hostname; id -un; sudo id -un"), "day\nada\nroot\n")
        self.execute("sudo", "cloud-init", "status", "--wait")
        self.execute("sh", "-c", "test -e /run/first-boot; echo kept >file; sync")
        self.nacre("pause", "day")
        before = json.loads(self.curl("/api/v1/vm.counters"))
        self.assertGreater(before["_disk0"]["write_ops"], 0)
        self.assertEqual(before["_disk0"], json.loads(self.curl("/api/v1/vm.counters"))["_disk0"])
        self.nacre("resume", "day")
        self.assertEqual(self.execute("cat", "file"), "kept\n")
        self.assertIn('nacre_vm_state{state="Running"} 1', self.curl("/metrics"))
        self.assertIn("day login:", self.nacre("log", "day", "--console"))
        self.nacre("stop", "day", "--timeout", "120", seconds=130)  # by force, it would say so
        subprocess.run(["qemu-img", "check", "-q", os.path.join(self.folder, "state", "day", "disk.qcow2")], check=True)


if __name__ == "__main__":
    unittest.main()
