# SPDX-License-Identifier: Apache-2.0
"""Debian's cloud kernel with the small initramfs: to a shell, and every way out of the machine."""

import hashlib
import os
import re
import subprocess
import tempfile
import unittest

from harness.machine import EXIT_CONFIGURATION, EXIT_GUEST, EXIT_POWER_OFF, KERNEL, NACRE, ROOT
from harness.machine import INITRAMFS, Machine, linux_arguments

PROMPT = r"nacre:\S+# "
BOOT_SECONDS = 60


class Boot(unittest.TestCase):
    def boot(self, *more, **options):
        machine = Machine(linux_arguments(*more, append="quiet", **options))
        self.addCleanup(machine.close)
        machine.expect(PROMPT, BOOT_SECONDS)
        return machine

    def check_processors(self, count, engine="auto"):
        machine = self.boot("--engine", engine, cpus=count)
        self.assertIn(str(count), machine.run("grep -c ^processor /proc/cpuinfo"))
        self.assertIn("Linux nacre 6.1", machine.run("uname -a"))
        machine.run("for i in $(seq 4); do (seq 20000 | md5sum) & done; wait")
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def test_one_processor(self):
        self.check_processors(1)

    def test_two_processors(self):
        self.check_processors(2)

    def test_four_processors(self):
        self.check_processors(4)

    def test_two_processors_interpreted(self):
        self.check_processors(2, "interpret")

    def test_vectors_of_the_host(self):
        """Their state is saved and restored as two programs a processor take turns, and their keys agree."""
        for engine in ("interpret", "translate"):
            machine = self.boot("--cpu", "host", "--engine", engine, cpus=2)
            flags = machine.run("grep -m1 ^flags /proc/cpuinfo").split()
            with open("/proc/cpuinfo") as file:
                host = re.search(r"^flags.*$", file.read(), re.MULTILINE)[0].split()
            for name in ("avx", "avx2", "avx512f", "avx512vl", "bmi1", "bmi2", "fma", "sha_ni", "vaes"):
                self.assertEqual(name in flags, name in host, name)
            sums = machine.run("for i in 1 2 3 4; do (seq 2000 | sha256sum) & done; wait")
            self.assertEqual(sums.count(hashlib.sha256("".join(f"{i}\n" for i in range(1, 2001)).encode()).hexdigest()), 4)
            machine.send("poweroff -f\n")
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def test_no_mitigation_is_on(self):
        """None that costs time: page-table isolation and retpolines are for real hardware only."""
        machine = self.boot()
        text = machine.run("cat /sys/devices/system/cpu/vulnerabilities/*")
        self.assertNotRegex(text, "PTI|Retpolines|Clear CPU buffers")

    def test_time_goes_on_at_the_right_pace(self):
        machine = self.boot()
        machine.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        machine.send("sleep 1; cat /proc/uptime; echo be''gin\n")
        machine.expect(r"^begin\n")
        machine.send("sleep 5; echo e''nd\n")
        machine.expect(r"^end\n")
        times = [when for when, line in machine.lines if line in ("begin", "end")]
        self.assertAlmostEqual(times[1] - times[0], 5, delta=1)

    def test_hpet_is_found_and_keeps_time(self):
        machine = self.boot()
        folder = "/sys/devices/system/clocksource/clocksource0"
        self.assertIn("hpet", machine.run(f"cat {folder}/available_clocksource").split())
        machine.run(f"echo hpet >{folder}/current_clocksource")
        self.assertIn("hpet", machine.run(f"cat {folder}/current_clocksource").split())
        elapsed = machine.run("read a b </proc/uptime; sleep 2; read c d </proc/uptime; echo $a $c")
        before, after = map(float, elapsed.split()[-2:])
        self.assertAlmostEqual(after - before, 2, delta=0.5)

    def test_hpet_can_be_left_out(self):
        machine = self.boot("--no-hpet")
        self.assertNotIn("hpet", machine.run("cat /sys/devices/system/clocksource/*/available_clocksource"))

    def test_without_apics(self):
        """Everything comes through the 8259s: ticks of the 8254 or HPET, and PCI's INTx over PIIX3."""
        with tempfile.NamedTemporaryFile(suffix=".img") as disk:
            disk.write(b"nacre" * 1000)
            disk.truncate(1 << 20)
            machine = Machine(linux_arguments("--disk", disk.name, append="quiet noapic nolapic pci=nomsi"))
            self.addCleanup(machine.close)
            machine.expect(PROMPT, BOOT_SECONDS)
            self.assertIn("nacre", machine.run("head -c 5 /dev/vda"))
            self.assertRegex(machine.run("grep virtio /proc/interrupts"), r"1[01]:\s+[1-9]\d*\s+XT-PIC")

    def test_qcow2_overlay_keeps_what_is_written(self):
        """A chain of two under the jail: backing data shows, writes and discards go to the overlay only."""
        with tempfile.TemporaryDirectory() as folder:
            base, overlay = os.path.join(folder, "base.qcow2"), os.path.join(folder, "overlay.qcow2")
            for words in (["create", base, "16M"], ["create", overlay, "--backing", "base.qcow2"]):
                subprocess.run([NACRE, "image", *words], check=True)
            subprocess.run(["qemu-io", "-c", "write -P 0x61 0 64k", "-c", "write -P 0x62 8M 1M", base],
                           check=True, capture_output=True)  # fmt: skip
            machine = self.boot("--disk", overlay)
            self.assertIn("aaaaaaaa", machine.run("dd if=/dev/vda bs=8 count=1 2>/dev/null; echo"))
            machine.run("tr '\\0' c </dev/zero | dd of=/dev/vda bs=64k seek=3 count=40 iflag=fullblock conv=fsync 2>/dev/null")
            machine.run("blkdiscard -o 8388608 -l 524288 /dev/vda || true")
            self.assertEqual(machine.run("dd if=/dev/vda bs=64k skip=10 count=1 2>/dev/null | tr -d c | wc -c").split()[-1], "0")
            machine.send("poweroff -f\n")
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)
            for image in (base, overlay):
                subprocess.run(["qemu-img", "check", "-q", image], check=True)
            subprocess.run(["qemu-io", "-r", "-c", "read -P 0x63 192k 2560k", "-c", "read -P 0x61 0 64k", overlay],
                           check=True, capture_output=True)  # fmt: skip

    def test_guest_panic_has_its_own_exit_code(self):
        machine = self.boot()
        machine.send("echo c >/proc/sysrq-trigger\n")
        machine.expect("Kernel panic")
        self.assertEqual(machine.wait(), EXIT_GUEST)

    def test_triple_fault_has_its_own_exit_code(self):
        machine = Machine(linux_arguments("--no-reboot", append="quiet reboot=t"))
        self.addCleanup(machine.close)
        machine.expect(PROMPT, BOOT_SECONDS)
        machine.send("reboot -f\n")
        self.assertEqual(machine.wait(), EXIT_GUEST)

    def test_reboot_boots_again(self):
        machine = self.boot()
        machine.run("touch /root/gone-after-reboot")
        machine.send("reboot -f\n")
        machine.expect("Restarting system", 20)
        machine.expect(PROMPT, BOOT_SECONDS)
        self.assertIn("missing", machine.run("test -e /root/gone-after-reboot || echo missing"))

    def test_virtio_console(self):
        arguments = linux_arguments("--serial", "none", "--console", "stdio", append="quiet")
        machine = Machine([word.replace("ttyS0", "hvc0") for word in arguments])
        self.addCleanup(machine.close)
        machine.expect(PROMPT, BOOT_SECONDS)
        self.assertIn("hvc0", machine.run("cat /sys/class/tty/console/active; tty"))
        text = machine.run("seq 20000 20999")
        self.assertEqual(text.split()[-1000:], [str(i) for i in range(20000, 21000)])
        machine.run("echo kernel-message >/dev/kmsg")
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def test_engines_take_turns(self):
        """All engines of the build on each vcpu, in turns that end in the middle of anything."""
        machine = self.boot("--engine-switch-every", "50021", cpus=2)
        self.assertIn("Linux nacre 6.1", machine.run("uname -a"))
        machine.send("poweroff -f\n")
        self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def test_dhcp_lease(self):
        machine = self.boot("--net", "user")
        self.assertIn("10.0.2.15", machine.run("ifconfig eth0"))

    def test_disk_keeps_what_is_written(self):
        with tempfile.NamedTemporaryFile(suffix=".img") as disk:
            disk.truncate(16 << 20)
            machine = self.boot("--disk", disk.name)
            machine.run("echo nacre was here | dd of=/dev/vda bs=512 seek=100 conv=sync,fsync")
            machine.send("poweroff -f\n")
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)
            disk.seek(512 * 100)
            self.assertTrue(disk.read(14).startswith(b"nacre was here"))


class MakeRun(unittest.TestCase):
    def test_piped_commands(self):
        result = subprocess.run(
            ["make", "--no-print-directory", "run"],
            input="uname -a; cat /proc/cpuinfo; poweroff -f\n",
            capture_output=True, text=True, cwd=ROOT, timeout=BOOT_SECONDS,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"Linux nacre 6\.1.*x86_64")
        self.assertIn("processor\t: 0", result.stdout)

    def test_end_of_input_powers_off(self):
        result = subprocess.run(
            ["scripts/run"], input="echo $((6 * 7)) is the answer\n",
            capture_output=True, text=True, cwd=ROOT, timeout=BOOT_SECONDS,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("42 is the answer", result.stdout)


class BadConfiguration(unittest.TestCase):
    """One line on stderr that names what is wrong, exit code 2, and nothing started."""

    def check(self, arguments, named):
        result = subprocess.run([NACRE, "run", *arguments], capture_output=True, text=True, timeout=20,
                                stdin=subprocess.DEVNULL)  # fmt: skip
        self.assertEqual(result.returncode, EXIT_CONFIGURATION, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertIn(named, result.stderr)

    def test_missing_kernel(self):
        self.check(["--kernel", "/no/such/kernel"], "/no/such/kernel")

    def test_no_kernel_named(self):
        self.check([], "--kernel")

    def test_directory_as_kernel(self):
        self.check(["--kernel", "/tmp"], "/tmp")

    def test_not_a_kernel(self):
        self.check(["--kernel", "/etc/passwd"], "/etc/passwd")

    def test_truncated_kernel(self):
        with tempfile.NamedTemporaryFile() as file, open(KERNEL, "rb") as kernel:
            file.write(kernel.read(100000))
            file.flush()
            self.check(["--kernel", file.name], file.name)

    def test_missing_initrd(self):
        self.check(["--kernel", KERNEL, "--initrd", "/no/such/initrd"], "/no/such/initrd")

    def test_absurd_memory(self):
        for size in ("0", "1", "99999T", "-5M", "banana", ""):
            with self.subTest(size):
                self.check(["--kernel", KERNEL, "--memory", size], "--memory")

    def test_too_little_memory(self):
        self.check(["--kernel", KERNEL, "--initrd", INITRAMFS, "--memory", "2M"], "memory")

    def test_absurd_processor_count(self):
        for count in ("0", "17", "-1", "many"):
            with self.subTest(count):
                self.check(["--kernel", KERNEL, "--cpus", count], "--cpus")

    def test_missing_disk(self):
        self.check(["--kernel", KERNEL, "--disk", "/no/such/disk.img"], "/no/such/disk.img")

    def test_unknown_option(self):
        self.check(["--kernel", KERNEL, "--flux-capacitor"], "--flux-capacitor")

    def test_busy_port(self):
        import socket

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            self.check(["--kernel", KERNEL, "--net", f"user,hostfwd=tcp:127.0.0.1:{port}-:22"], str(port))


if __name__ == "__main__":
    unittest.main()
