# SPDX-License-Identifier: Apache-2.0
"""Networks of guests, seen by real clients: taps, bridges, `nacre network`, switches, the user-mode NAT's settings."""

import os
import re
import subprocess
import tempfile
import unittest

from harness.host import web_server
from harness.machine import CACHE, EXIT_POWER_OFF, KERNEL, Machine, NACRE, ROOT, linux_arguments
from harness.namespace import Namespace, needs_root

PROMPT_SECONDS = 60
READY = "init: re''ady"


class Networks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="nacre-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.environ["NACRE_RUNTIME"] = os.path.join(self.folder, "run")
        self.addCleanup(os.environ.pop, "NACRE_RUNTIME")

    def start(self, *nets, namespace=None, address=None, kernel=KERNEL, **options):
        append = "quiet nacre.batch" + (f" nacre.address={address}" if address else "")
        arguments = linux_arguments(*(word for net in nets for word in ("--net", net)), append=append, **options)
        arguments[arguments.index("--kernel") + 1] = kernel
        if namespace:
            machine = Machine([*namespace.inside[1:], NACRE, *arguments], namespace.inside[0])
        else:
            machine = Machine(arguments)
        self.addCleanup(machine.close)
        machine.send(f"echo {READY}\n")
        return machine

    def wait_for(self, *machines):
        for machine in machines:
            machine.expect(READY.replace("''", ""), PROMPT_SECONDS)

    def power_off(self, *machines):
        for machine in machines:
            machine.send("poweroff -f\n")
        for machine in machines:
            self.assertEqual(machine.wait(), EXIT_POWER_OFF)

    def check_transfer(self, sender, address, receiver):
        """20 MB go from one to the other and are the same there."""
        there = sender.run("dd if=/dev/urandom of=/tmp/file bs=1M count=20 2>/dev/null; pidof httpd >/dev/null || httpd -h /tmp; md5sum </tmp/file", 60)
        here = receiver.run(f"wget -q -O - http://{address}/file | md5sum", 60)
        self.assertEqual(here.strip(), there.strip())

    def test_switch_joins_machines(self):
        capture = os.path.join(self.folder, "first.pcap")
        first = self.start(f"switch=lan,pcap={capture}", address="10.5.0.1")
        second = self.start("switch=lan", address="10.5.0.2")
        self.wait_for(first, second)
        self.assertIn(" 0% packet loss", first.run("ping -c 2 10.5.0.2"))
        seen = subprocess.run(["tcpdump", "-n", "-r", capture, "icmp"], capture_output=True, text=True).stdout
        self.assertEqual(len(re.findall(r"10.5.0.1 > 10.5.0.2: ICMP echo request", seen)), 2, seen)
        self.assertEqual(len(re.findall(r"10.5.0.2 > 10.5.0.1: ICMP echo reply", seen)), 2, seen)
        self.check_transfer(second, "10.5.0.2", first)
        self.power_off(second)
        # It lives on with the machine that is left, and takes new ones.
        third = self.start("switch=lan,queues=2", address="10.5.0.3", cpus=2)
        self.wait_for(third)
        self.assertRegex(third.run("cat /proc/interrupts"), r"virtio\d+-input\.1\n")
        self.check_transfer(first, "10.5.0.1", third)
        self.power_off(first, third)
        folder = os.path.join(os.environ["NACRE_RUNTIME"], "switch")
        users = subprocess.run(["fuser", os.path.join(folder, "lan")], capture_output=True, text=True)
        self.assertEqual(users.stdout.strip(), "", "the switch ends with its last machine")

    def debian_guest(self):
        """The small guest with the kernel of linux-image-amd64 and its driver for the e1000."""
        subprocess.run(["scripts/make-debian-image"], cwd=ROOT, check=True)
        image, initrd = os.path.join(CACHE, "debian", "disk.img"), os.path.join(self.folder, "initramfs.gz")
        release = subprocess.run(["debugfs", "-R", "ls -p /lib/modules", image], capture_output=True, text=True, check=True)
        release = re.search(r"/(\d[^/]*amd64)/", release.stdout)[1]
        module = os.path.join(self.folder, "e1000.ko")
        source = f"/lib/modules/{release}/kernel/drivers/net/ethernet/intel/e1000/e1000.ko"
        subprocess.run(["debugfs", "-R", f"dump {source} {module}", image], capture_output=True, check=True)
        subprocess.run(["scripts/make-initramfs", initrd, f"modules/e1000.ko={module}"], cwd=ROOT, check=True)
        return {"kernel": os.path.join(CACHE, "debian", "vmlinuz"), "initrd": initrd}

    def test_e1000_with_linux_driver(self):
        """To and from a virtio card on the same switch, so that each meets the other's offloads."""
        e1000 = self.start("switch=mixed,model=e1000", address="10.5.0.1", **self.debian_guest())
        virtio = self.start("switch=mixed", address="10.5.0.2")
        self.wait_for(e1000, virtio)
        self.assertIn("NIC Link is Up 1000 Mbps Full Duplex", e1000.run("dmesg | grep e1000"))
        self.check_transfer(e1000, "10.5.0.1", virtio)
        self.check_transfer(virtio, "10.5.0.2", e1000)
        self.assertRegex(e1000.run("ifconfig eth0"), r"RX packets:\d+ errors:0 dropped:0")
        self.assertNotIn("Tx Unit Hang", e1000.run("dmesg"))
        self.power_off(e1000, virtio)

    def test_rates_hold(self):
        """2 MB at 1 MB/s, in each direction, over the user-mode NAT."""
        machine = self.start("user,bytes=1M,burst-bytes=64K")
        self.wait_for(machine)
        with web_server("x" * (2 << 20)) as port:
            seconds = float(machine.run(f"time wget -q -O /tmp/file http://10.0.2.2:{port}/ 2>&1; ls -l /tmp/file")
                            .split("real")[1].split("m")[1].split("s")[0])  # fmt: skip
            self.assertGreater(seconds, 1.7)
            self.assertLess(seconds, 20)
        self.power_off(machine)

    def test_tftp_and_names(self):
        """Files of a folder, in the jail; what is not there is an error to the guest and to nobody else."""
        served = os.path.join(self.folder, "served")
        os.makedirs(os.path.join(served, "below"))
        for name, size in (("boot", 100000), ("below/more", 7)):
            with open(os.path.join(served, name), "wb") as file:
                file.write(os.urandom(size))
        os.symlink("/etc/passwd", os.path.join(served, "link"))
        machine = self.start(f"user,tftp={served},bootfile=boot,network=10.7.8.0/24,dns=10.7.8.9,domain=example.org")
        self.wait_for(machine)
        for name in ("boot", "below/more"):
            there = subprocess.run(["md5sum"], stdin=open(os.path.join(served, name)), capture_output=True, text=True).stdout
            here = machine.run(f"tftp -g -l /tmp/file -r {name} 10.7.8.2 2>/dev/null; md5sum </tmp/file")
            self.assertEqual(here.strip(), there.strip())
        for name in ("missing", "link", "../run"):
            machine.run(f"! tftp -g -l /tmp/none -r {name} 10.7.8.2 2>/dev/null")
        self.assertIn("inet addr:10.7.8.15", machine.run("ifconfig eth0"))
        self.assertIn("nameserver 10.7.8.9", machine.run("cat /etc/resolv.conf"))
        self.assertNotIn("jail:", machine.output)
        self.power_off(machine)

    @needs_root
    def test_nat_network_leads_out(self):
        """Guest, bridge with DHCP and masquerading, cable, a web server that knows no way back."""
        page = os.path.join(self.folder, "index.html")
        with open(page, "w") as file:
            file.write("hello from the world")
        with Namespace("host") as host, Namespace("world") as world:
            host.join(world, "192.0.2.1/24", "192.0.2.2/24")
            before = [host.run("ip", "-4", "-o", "address"), host.run("nft", "list", "ruleset")]
            host.run(NACRE, "network", "create", "--nat", "lab", "--address", "10.88.0.1/24")
            self.assertRegex(host.run(NACRE, "network", "list"), r"lab +nat +10\.88\.0\.1/24 +- +0")
            world.start("python3", "-m", "http.server", "80", "--directory", self.folder)
            machine = self.start("tap,bridge=lab", "tap,bridge=lab,mac=52:54:00:01:02:03", namespace=host)
            self.wait_for(machine)
            self.assertIn("52:54:00:01:02:03", machine.run("ifconfig eth1").lower())
            self.assertRegex(machine.run("ifconfig eth0"), r"inet addr:10\.88\.0\.\d+")
            self.assertIn("hello from the world", machine.run("wget -q -O - http://192.0.2.2/"))
            self.assertRegex(host.run(NACRE, "network", "list"), r"lab .* 2\n")
            self.assertIn(" 0% packet loss", host.run("ping", "-c", "2", "-i", "0.2", self.address_of(machine)))
            # Nobody comes in from outside.
            world.run("ip", "route", "add", "10.88.0.0/24", "via", "192.0.2.1")
            self.assertIn("100% packet loss", world.run("ping", "-c", "1", "-W", "1", self.address_of(machine), check=False))
            self.power_off(machine)
            host.run(NACRE, "network", "delete", "lab")
            after = [host.run("ip", "-4", "-o", "address"), host.run("nft", "list", "ruleset")]
            self.assertEqual(after, before)
            self.assertEqual(host.run("cat", "/proc/sys/net/ipv4/ip_forward"), "0\n")
            self.assertEqual(host.run("pgrep", "-f", f"^dnsmasq.*{self.folder}", check=False).split(), [])

    def address_of(self, machine):
        return machine.run("ifconfig eth0 | sed -n 's/.*addr:\\([0-9.]*\\) .*/\\1/p'").split()[-1]


if __name__ == "__main__":
    unittest.main()
