# SPDX-License-Identifier: Apache-2.0
"""Real programs of Debian packages, from one image: natively in a chroot, in guests from a disk."""

import os
import subprocess

from harness.machine import ROOT
from machines import BINARY, PROGRAMS

DISK = os.path.join(PROGRAMS, "disk.img")

# In a mount namespace of its own: nothing is left mounted, however it ends.
NATIVE = """
set -e
mount -t tmpfs tmpfs "$1/tmp"
mount --bind /dev "$1/dev"
cp "$2" "$1/tmp/bench"
exec chroot "$1" /programs/run "$3" $4
"""


def prepare():
    subprocess.run([os.path.join(ROOT, "scripts/make-programs-image")], check=True)


def native_command(rounds, names):
    return ["unshare", "--mount", "sh", "-c", NATIVE, "sh", os.path.join(PROGRAMS, "root"), BINARY, str(rounds), names]
