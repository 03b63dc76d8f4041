# SPDX-License-Identifier: Apache-2.0
"""The machines that are measured: each is a command whose standard output is the guest's serial console."""

import os
import shutil
import subprocess
import time

from harness.machine import CACHE, KERNEL, NACRE, ROOT

BUILD = os.path.join(CACHE, "bench")
BINARY = os.path.join(BUILD, "bench")
BINARY32 = os.path.join(BUILD, "bench32")  # the same program as 32-bit code
INITRAMFS = os.path.join(BUILD, "initramfs.gz")
PROGRAMS = os.path.join(CACHE, "programs")
# The same kernel command line everywhere; the peers pay for mitigations no more than nacre does.
CONSOLE = "console=ttyS0 quiet panic=-1 mitigations=off"

OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"

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


def prepare():
    """Fetches the guest, builds the benchmark programs, and an initramfs with all."""
    os.makedirs(BUILD, exist_ok=True)
    driver = os.path.join(ROOT, "guest/bench/driver")
    for command in (
        ["scripts/fetch-guest"],
        ["guest/bench/build", BINARY],
        ["guest/bench/build", BINARY32, "-m32"],
        ["scripts/make-initramfs", INITRAMFS, f"bench={BINARY}", f"bench32={BINARY32}", f"driver={driver}"],
    ):
        subprocess.run([os.path.join(ROOT, command[0]), *command[1:]], check=True)


def task(name, **settings):
    """The kernel command line that makes guest/bench/driver do its task."""
    words = [f"bench.{key}={int(value) if value is True else value}" for key, value in {"do": name, **settings}.items() if value]
    return " ".join([CONSOLE, "nacre.run=/driver", *words])


class Nacre:
    def __init__(self, engine, *more, cpu=""):
        self.name = f"nacre {engine} {cpu}".strip()
        self.options = ["--quiet", "--engine", engine, *(["--cpu", cpu] if cpu else []), *more]

    def command(self, append, cpus=1, memory=512, disk=None, initrd=INITRAMFS):
        drive = ["--disk", f"{disk},readonly=on"] if disk else []
        return [NACRE, "run", *self.options, "--kernel", KERNEL, "--initrd", initrd, "--memory", f"{memory}M",
                "--cpus", str(cpus), "--serial", "stdio", "--append", append, *drive]  # fmt: skip

    def firmware_command(self, firmware, disk):
        return [NACRE, "run", *self.options, "--firmware", firmware, "--disk", f"{disk},readonly=on"]


class Qemu:
    """TCG with a CPU that has what nacre's x86-64-v2 has."""

    def __init__(self, model, *more):
        self.options = more
        # With ACPI, microvm shows Linux no timer but the PIT, which it then cannot calibrate the TSC with.
        self.model = "microvm,acpi=off" if model == "microvm" else model
        self.name = "QEMU TCG" if model == "pc" else f"QEMU TCG {model}"

    def command(self, append, cpus=1, memory=512, disk=None, initrd=INITRAMFS):
        drive = ["-drive", f"file={disk},if=virtio,format=raw,readonly=on"] if disk else []
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", self.model, "-cpu", "qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,"
                "+pclmulqdq", "-m", str(memory), "-smp", str(cpus), "-nodefaults", "-display", "none", "-serial", "stdio",
                "-no-reboot", "-kernel", KERNEL, "-initrd", initrd, "-append", append, *drive, *self.options]  # fmt: skip

    def firmware_command(self, firmware, disk):
        flash = ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}",
                 "-drive", f"if=pflash,format=raw,unit=1,file={OVMF_VARIABLES},snapshot=on"]  # fmt: skip
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-m", "512", "-nodefaults", "-vga", "std", "-display", "none",
                "-serial", "stdio", "-device", "virtio-rng-pci", "-drive", f"file={disk},if=virtio,format=raw,readonly=on",
                *(flash if firmware == "uefi" else [])]  # fmt: skip


class Bochs:
    """From a CD image with GRUB: Bochs has no direct kernel boot. One CPU, and no disk."""

    name = "Bochs"

    def command(self, append, cpus=1, memory=512, disk=None):
        assert cpus == 1 and not disk
        tree = os.path.join(BUILD, "iso")
        boot = os.path.join(tree, "boot")
        os.makedirs(os.path.join(boot, "grub"), exist_ok=True)
        shutil.copy(KERNEL, os.path.join(boot, "vmlinuz"))
        shutil.copy(INITRAMFS, os.path.join(boot, "initramfs.gz"))
        with open(os.path.join(boot, "grub", "grub.cfg"), "w") as file:
            file.write(GRUB_CONFIGURATION.format(append=append))
        iso = os.path.join(BUILD, "bench.iso")
        subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--install-modules=linux normal iso9660 biosdisk", "--locales=", "--fonts=",
                        "--themes=", "-o", iso, tree], check=True, capture_output=True)  # fmt: skip
        configuration = os.path.join(BUILD, "bochsrc")
        with open(configuration, "w") as file:
            file.write(BOCHS_CONFIGURATION.format(memory=memory, iso=iso, log=os.path.join(BUILD, "bochs.log")))
        commands = os.path.join(BUILD, "bochs-commands")
        with open(commands, "w") as file:
            file.write("continue\n")  # Debian's build has the debugger in, which would wait
        return ["env", "TERM=vt100", "bochs", "-q", "-f", configuration, "-rc", commands]


def processor_seconds(pid):
    """CPU time of a process, all threads that it has or had. The clock's number is made as in clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def software_engines():
    """The engines that need no help of hardware, in the order in which nacre prefers them."""
    listed = subprocess.run([NACRE, "run", "--engine", "help"], capture_output=True, text=True).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.strip() and "not here:" not in line]
    return [name for name in names if name not in ("auto", "kvm")]


def has_qemu():
    return shutil.which("qemu-system-x86_64") is not None


def has_bochs():
    return shutil.which("bochs") is not None and shutil.which("grub-mkrescue") is not None
