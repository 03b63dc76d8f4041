# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of the host, for tests that need root's networks without touching the host's own."""

import os
import subprocess
import unittest


def needs_root(test):
    return unittest.skipUnless(os.geteuid() == 0, "network namespaces need root")(test)


class Namespace:
    """A network of its own; what was started in it ends with it. Use it in a `with` block."""

    def __init__(self, name):
        self.name = f"nacre-{name}-{os.getpid()}"
        self.inside = ["ip", "netns", "exec", self.name]

    def __enter__(self):
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.run("ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *_):
        for pid in subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True).stdout.split():
            subprocess.run(["kill", "-KILL", pid], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def run(self, *command, check=True):
        """Runs a program in it; returns what it wrote."""
        result = subprocess.run([*self.inside, *command], capture_output=True, text=True)
        if check and result.returncode:
            raise AssertionError(f"{' '.join(command)}: {result.stderr}{result.stdout}")
        return result.stdout

    def start(self, *command):
        return subprocess.Popen([*self.inside, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def join(self, other, here, there):
        """A cable to another one; here and there: addresses with prefix."""
        self.run("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", other.name)
        for space, interface, address in ((self, "cable0", here), (other, "cable1", there)):
            space.run("ip", "address", "add", address, "dev", interface)
            space.run("ip", "link", "set", interface, "up")
