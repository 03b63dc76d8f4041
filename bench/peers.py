# SPDX-License-Identifier: Apache-2.0
"""How each machine boots the benchmark guest: a command whose standard output is the serial console."""

import os
import shutil
import subprocess

from harness.machine import CACHE, KERNEL, NACRE, ROOT

BUILD = os.path.join(CACHE, "bench")
BINARY = os.path.join(BUILD, "bench")
INITRAMFS = os.path.join(BUILD, "initramfs.gz")
# The same kernel command line everywhere; the peers pay for mitigations no more than nacre does.
APPEND = "console=ttyS0 quiet panic=-1 mitigations=off nacre.run="
MEMORY = 512  # MiB

BOCHS_CONFIGURATION = """\
display_library: term
sound: driver=dummy
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_sandy_bridge_2600k, ips=50000000, reset_on_triple_fault=0
memory: guest={memory}, host={memory}
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=/dev/stdout
log: {log}
panic: action=fatal
clock: sync=none
"""

GRUB_CONFIGURATION = """\
set timeout=0
linux /boot/vmlinuz {append}
initrd /boot/initramfs.gz
boot
"""


def prepare(divisor, rounds):
    """Builds the benchmark program and an initramfs with it and the two scripts that init can run."""
    os.makedirs(BUILD, exist_ok=True)
    for script in (["scripts/fetch-guest"], ["guest/bench/build", BINARY]):
        subprocess.run([os.path.join(ROOT, script[0]), *script[1:]], check=True)
    scripts = {
        "measure": f"for i in $(seq {rounds}); do /bench {divisor}; done; echo measured",
        "idle": "echo idle; sleep 100000",
    }
    files = [f"bench={BINARY}"]
    for name, text in scripts.items():
        path = os.path.join(BUILD, name)
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        files.append(f"{name}={path}")
    subprocess.run([os.path.join(ROOT, "scripts/make-initramfs"), INITRAMFS, *files], check=True)


def nacre(engine):
    def command(program):
        return [NACRE, "run", "--engine", engine, "--kernel", KERNEL, "--initrd", INITRAMFS, "--memory",
                f"{MEMORY}M", "--cpus", "1", "--serial", "stdio", "--append", APPEND + program]  # fmt: skip

    return command


def qemu(program):
    return ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt", "-m",
            str(MEMORY), "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", KERNEL, "-initrd",
            INITRAMFS, "-append", APPEND + program]  # fmt: skip


def bochs(program):
    """From a CD image with GRUB: Bochs has no direct kernel boot."""
    tree = os.path.join(BUILD, "iso")
    boot = os.path.join(tree, "boot")
    os.makedirs(os.path.join(boot, "grub"), exist_ok=True)
    shutil.copy(KERNEL, os.path.join(boot, "vmlinuz"))
    shutil.copy(INITRAMFS, os.path.join(boot, "initramfs.gz"))
    with open(os.path.join(boot, "grub", "grub.cfg"), "w") as file:
        file.write(GRUB_CONFIGURATION.format(append=APPEND + program))
    iso = os.path.join(BUILD, "bench.iso")
    subprocess.run(["grub-mkrescue", "--install-modules=linux normal iso9660 biosdisk", "--locales=", "--fonts=",
                    "--themes=", "-o", iso, tree], check=True, capture_output=True)  # fmt: skip
    configuration = os.path.join(BUILD, "bochsrc")
    with open(configuration, "w") as file:
        file.write(BOCHS_CONFIGURATION.format(memory=MEMORY, iso=iso, log=os.path.join(BUILD, "bochs.log")))
    commands = os.path.join(BUILD, "bochs-commands")
    with open(commands, "w") as file:
        file.write("continue\n")  # Debian's build has the debugger in, which would wait
    return ["env", "TERM=vt100", "bochs", "-q", "-f", configuration, "-rc", commands]


def machines(engines):
    """name: (command maker, times its lines from outside) of all that is installed."""
    found = {f"nacre {engine}": (nacre(engine), False) for engine in engines}
    if shutil.which("qemu-system-x86_64"):
        found["QEMU TCG"] = (qemu, False)
    if shutil.which("bochs") and shutil.which("grub-mkrescue"):
        found["Bochs"] = (bochs, True)
    return found
