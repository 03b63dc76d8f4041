# SPDX-License-Identifier: Apache-2.0
"""Disk images that firmware boots: GRUB with a menu of our own."""

import os
import re
import subprocess
import tempfile

GRUB_FOLDER = "/usr/lib/grub"


def grub_image(path, menu, platform="i386-pc", modules=()):
    """GRUB with its modules and this menu in one file: it needs no file system."""
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as config:
        config.write(menu)
        config.flush()
        words = " ".join(["normal", "echo", "halt", "reboot", "sleep", *modules])
        command = ["grub-mkstandalone", "-O", platform, "-o", path, "--fonts=", "--locales=", "--themes="]
        command += [f"--install-modules={words}", f"boot/grub/grub.cfg={config.name}"]
        subprocess.run(command, check=True, capture_output=True)


def grub_bios_disk(path, menu, modules=()):
    """A disk with GRUB in its first sectors, as grub-install would put it in front of a partition."""
    with tempfile.TemporaryDirectory() as folder:
        core = os.path.join(folder, "core.img")
        grub_image(core, menu, modules=["biosdisk", *modules])
        with open(path, "wb") as disk:
            for part in (os.path.join(GRUB_FOLDER, "i386-pc", "boot.img"), core):
                with open(part, "rb") as file:
                    disk.write(file.read())
            disk.truncate(8 << 20)


def shown(text):
    """An expression for text on a screen that comes over a serial port: the cursor may move at any time."""
    return r"(?:\x1b\[[0-9;?]*[A-Za-z])*".join(re.escape(letter) for letter in text)
