# SPDX-License-Identifier: Apache-2.0
"""What a machine costs before it does anything: the time to user space, and memory and CPU at rest."""

import os
import re
import time

import machines
from harness.firmware import grub_bios_disk, shown
from harness.machine import Machine, proportional_megabytes

MEMORY = 128  # MiB


def first_line(machine, rounds, options):
    """Seconds from starting the process to the first line of the guest's first program: median, and all."""
    clock = machines.processor_seconds if options.processor else None
    samples = []
    for _ in range(rounds):
        command = machine.command(f"{machines.CONSOLE} rdinit=/bench -- --init", memory=MEMORY)
        with Machine(command[1:], command[0], clock) as running:
            running.expect(r"^init: first line\n", options.limit)
            samples.append(next(when for when, line in running.lines if line.startswith("init: first line")))
    return {"median": options.pick(samples), "samples": samples}


# GRUB shows its menu on the serial port; UEFI says there which of its boot manager's entries it tries first.
GRUB_MENU = """
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set timeout=-1
menuentry "the menu is here" { halt }
"""
FIRMWARE_ENDS = {"bios": shown("the menu is here"), "uefi": "BdsDxe: loading Boot"}


def firmware(machine, rounds, options):
    """Seconds from starting the process until the firmware has done its work: {kind: median and all}."""
    disk = os.path.join(machines.BUILD, "grub.img")
    grub_bios_disk(disk, GRUB_MENU, modules=["serial", "terminal"])
    measured = {}
    for kind, end in FIRMWARE_ENDS.items():
        samples = []
        for _ in range(rounds):
            command = machine.firmware_command(kind, disk)
            with Machine(command[1:], command[0]) as running:
                running.expect(end, options.limit)
                pid = running.process.pid
                samples.append(machines.processor_seconds(pid) if options.processor else time.monotonic() - running.started)
        measured[kind] = {"median": options.pick(samples), "samples": samples}
    return measured


def kilobytes(path):
    with open(path) as file:
        return {name: int(size) / 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", file.read(), re.M)}


def memfd_megabytes(pid):
    """What the process's memfds hold, mapped or not: nacre's code cache. Each file once."""
    files = {}
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.readlink(path).startswith("/memfd:"):
            status = os.stat(path)
            files[status.st_ino] = status.st_blocks * 512 / 2**20
    return sum(files.values())


def at_rest(machine, seconds, limit):
    """Memory in MB once a guest of 128 MB has booted and sleeps, and the percentage of a core it uses then."""
    command = machine.command(machines.task("idle"), memory=MEMORY)
    with Machine(command[1:], command[0]) as running:
        running.expect(r"^idle", limit)
        time.sleep(3)
        pid = running.process.pid
        before = machines.processor_seconds(pid)
        time.sleep(seconds)
        used = machines.processor_seconds(pid) - before
        status, rollup = kilobytes(f"/proc/{pid}/status"), kilobytes(f"/proc/{pid}/smaps_rollup")
        return {
            "cpu_percent": 100 * used / seconds,
            "resident": status["VmRSS"],
            "proportional": rollup["Pss"],
            "other": proportional_megabytes(pid, MEMORY)[1],
            "memfd": memfd_megabytes(pid),
        }
