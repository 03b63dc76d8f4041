#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The life of a VM by its commands: create, start, pause, resume, reset, stop, list, delete."""

import json
import os
import signal
import socket
import subprocess
import time
import unittest

from machines import ECHO, NACRE, PANIC, POWER_OFF, SECONDS
from managed import Managed, curl


class Life(Managed):
    def owner(self, name):
        with open(self.path(name, "lock")) as file:
            return int(file.read())

    def test_from_create_to_delete(self):
        self.create("web", "--cpus", "2")
        self.assertEqual(self.listed(), {"web": "Stopped"})
        self.ok("start", "web")
        self.assertEqual(self.listed(), {"web": "Running"})
        self.ok("pause", "web")
        self.assertEqual(self.listed(), {"web": "Paused"})
        self.refused("state Paused", "pause", "web")
        self.ok("resume", "web")
        self.ok("reset", "web")
        self.assertEqual(self.listed(), {"web": "Running"})
        self.refused("running it", "delete", "web")
        self.refused("running it", "start", "web")
        self.ok("stop", "web", "--force")
        self.assertEqual(self.listed(), {"web": "Stopped"})
        self.assertFalse(os.path.exists(self.path("web")))
        self.assertEqual(
            self.events("web"),
            ["created", "booting", "booted", "paused", "resumed", "rebooted", "ending", "shutdown"],
        )
        self.ok("delete", "web")
        self.assertEqual(self.listed(), {})
        self.refused("there is none", "start", "web")

    def test_a_guest_that_does_not_listen_is_forced(self):
        self.create("deaf")
        self.ok("start", "deaf")
        result = self.run_nacre("stop", "deaf", "--timeout", "1")
        self.assertEqual(result.returncode, 0)
        self.assertIn("by force", result.stderr)
        self.assertEqual(self.listed(), {"deaf": "Stopped"})

    def test_the_guest_powers_itself_off(self):
        self.create("short", code=POWER_OFF)
        self.ok("start", "short")
        self.wait_until("short", "Stopped")
        self.assertEqual(self.events("short")[-1], "shutdown")

    def test_a_panic_is_written_down(self):
        self.create("bad", code=PANIC)
        self.ok("start", "bad")
        self.wait_until("bad", "Stopped")
        with open(self.path("bad", "events.log")) as file:
            last = json.loads(file.readlines()[-1])
        self.assertEqual(last["properties"], {"exit_code": 3, "message": "the guest's kernel has panicked"})

    def test_foreground_takes_signals_and_tells_the_end(self):
        self.create("front")
        process = subprocess.Popen(
            [NACRE, "start", "front", "--foreground"], stderr=subprocess.PIPE, text=True, env=self.environment
        )
        self.addCleanup(process.stderr.close)
        self.wait_until("front", "Running")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(SECONDS), 0)
        self.assertEqual(self.listed(), {"front": "Stopped"})

    def test_tells_systemd_when_it_is_up(self):
        self.create("unit")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
            path = os.path.join(self.folder, "notify")
            service.bind(path)
            service.settimeout(SECONDS)
            process = subprocess.Popen(
                [NACRE, "start", "unit", "--foreground"], stderr=subprocess.DEVNULL, env={**self.environment, "NOTIFY_SOCKET": path}
            )
            self.assertEqual(service.recv(100), b"READY=1")
        self.assertEqual(self.listed(), {"unit": "Running"})
        self.ok("stop", "unit", "--force")
        self.assertEqual(process.wait(SECONDS), 0)

    def test_after_a_crash_of_the_supervisor(self):
        self.create("hit")
        self.ok("start", "hit")
        machine = curl(self.path("hit"), "GET", "/api/v1/vm.info")[1]["machine_pid"]
        os.kill(self.owner("hit"), signal.SIGKILL)
        self.wait_until("hit", "Stopped")
        deadline = time.monotonic() + SECONDS
        while os.path.exists(f"/proc/{machine}") and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f"/proc/{machine}"), "the machine outlived its supervisor")
        self.assertTrue(os.path.exists(self.path("hit")), "the socket that was left")
        self.refused("not running", "pause", "hit")
        self.ok("start", "hit")
        self.assertEqual(self.listed(), {"hit": "Running"})

    def test_after_a_crash_of_the_machine(self):
        self.create("hit")
        self.ok("start", "hit")
        os.kill(curl(self.path("hit"), "GET", "/api/v1/vm.info")[1]["machine_pid"], signal.SIGKILL)
        self.wait_until("hit", "Stopped")
        self.ok("start", "hit")

    def test_what_cannot_boot_says_why(self):
        self.create("gone")
        os.remove(os.path.join(self.folder, "guest"))
        self.refused("guest: No such file", "start", "gone")
        self.assertEqual(self.listed(), {"gone": "Stopped"})


class Upkeep(Managed):
    """show, set, list, log, rename, prune; disks of one's own."""

    def config(self, name):
        with open(self.path(name, "config.json")) as file:
            return json.load(file)

    def test_set(self):
        self.create("web", "--net", "user")
        self.ok("set", "web", "--cpus", "3", "--memory", "32M", "--drop", "net", "--engine", "interpret")
        config = self.config("web")
        self.assertEqual((config["cpus"]["boot_vcpus"], config["memory"]["size"]), (3, 32 << 20))
        self.assertNotIn("net", config)
        self.assertEqual(config["options"], {"engine": "interpret"})
        self.ok("start", "web")
        self.assertIn("next start", self.ok("set", "web", "--cpus", "1"))
        info = json.loads(self.ok("show", "web", "--json"))
        self.assertEqual(info["config"]["cpus"]["boot_vcpus"], 3)
        self.refused("not set", "set", "web", "--drop", "net")
        self.refused("--cpus 99", "set", "web", "--cpus", "99")
        self.refused("nothing to change", "set", "web")
        self.assertEqual(self.config("web")["cpus"]["boot_vcpus"], 1)

    def test_a_disk_of_its_own(self):
        base = os.path.join(self.folder, "base.qcow2")
        self.ok("image", "create", base, "8M")
        self.create("db", "--image", base)
        disk = self.path("db", "disk.qcow2")
        self.assertEqual(self.config("db")["disks"], [{"path": disk}])
        self.assertIn(base, self.ok("image", "info", disk))
        self.assertIn(base, self.ok("list"))
        self.ok("start", "db")
        self.ok("stop", "db", "--force")
        # Another stands on it: neither may go.
        self.create("copy", "--image", disk)
        self.refused("disk of VM copy is based on it", "delete", "db")
        self.refused("disk of VM copy is based on it", "rename", "db", "other")
        self.ok("delete", "copy")
        self.ok("rename", "db", "store")
        self.assertEqual(self.listed(), {"store": "Stopped"})
        self.ok("start", "store")
        self.refused("running it", "rename", "store", "db")
        self.ok("stop", "store", "--force")
        self.create("db")
        self.refused("there is one already", "rename", "store", "db")

    def test_an_image_that_is_not_there(self):
        self.refused("nowhere.qcow2", "create", "db", "--image", "nowhere.qcow2")
        self.assertEqual(self.listed(), {})

    def test_log(self):
        self.create("web", code=PANIC)
        self.ok("start", "web")
        self.wait_until("web", "Stopped")
        lines = self.ok("log", "web").splitlines()
        self.assertRegex(lines[0], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d created by \w+ \(process \d+\)$")
        self.assertRegex(lines[1], r" booting by \w+ \(process \d+\)$")
        self.assertRegex(lines[-1], r" shutdown: the guest's kernel has panicked$")
        self.assertIn("engine", self.ok("log", "web", "--messages"))

    def test_prune(self):
        self.create("old")
        self.create("busy")
        self.ok("start", "busy")
        self.create("new")
        past = time.time() - 40 * 86400
        os.utime(self.path("old", "events.log"), (past, past))
        os.utime(self.path("busy", "events.log"), (past, past))
        self.assertRegex(self.ok("prune"), r"\Aold +unused 40d 0h .*\n1 unused for 30 days .*--delete")
        self.assertRegex(self.ok("prune", "--delete"), r"\Aold .*deleted\n")
        self.assertEqual(self.listed(), {"busy": "Running", "new": "Stopped"})

    def test_list_for_programs(self):
        self.create("web")
        vms = json.loads(self.ok("list", "--json"))
        self.assertEqual([(vm["name"], vm["state"]) for vm in vms], [("web", "Stopped")])


class Seed(Managed):
    """--cloud-init: a disk that other programs can read."""

    def user_data(self, text):
        path = os.path.join(self.folder, "user-data")
        with open(path, "w") as file:
            file.write(text)
        return path

    def test_what_is_on_the_disk(self):
        text = "#cloud-config\nusers: [default]\n" + "# filler\n" * 5000
        self.create("ci", "--cloud-init", self.user_data(text))
        seed = self.path("ci", "seed.img")
        read = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: E731
        read("fsck.fat", "-n", seed)
        self.assertIn("CIDATA", read("mdir", "-i", seed, "::"))
        self.assertEqual(read("mtype", "-i", seed, "::user-data"), text)
        self.assertRegex(read("mtype", "-i", seed, "::meta-data"), r"\Ainstance-id: ci-[0-9a-f]{16}\nlocal-hostname: ci\n\Z")
        with open(self.path("ci", "config.json")) as file:
            self.assertEqual(json.load(file)["disks"], [{"path": seed, "settings": "readonly=on"}])
        self.ok("start", "ci")

    def test_refusals(self):
        self.refused("first line must be", "create", "ci", "--kernel", "k", "--cloud-init", self.user_data("users: []"))
        self.refused("too long", "create", "ci", "--kernel", "k", "--cloud-init", self.user_data("#" * (3 << 20)))
        self.refused("No such file", "create", "ci", "--kernel", "k", "--cloud-init", "nowhere")
        self.assertEqual(self.listed(), {})


class Ssh(Managed):
    """With an ssh that only says what it was asked for."""

    def setUp(self):
        super().setUp()
        path = os.path.join(self.folder, "ssh")
        with open(path, "w") as file:
            file.write('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        os.chmod(path, 0o755)
        self.environment["PATH"] = self.folder + ":" + os.environ["PATH"]

    def test_where_it_goes(self):
        self.create("web", "--net", "user,restrict=on,hostfwd=tcp:127.0.0.1:80-:80,hostfwd=tcp:127.0.0.2:2222-:22")
        words = self.ok("ssh", "web", "--user", "debian", "--identity", "key").splitlines()
        self.assertLessEqual({"-p2222", "-ldebian", "-ikey", "127.0.0.2", "-oBatchMode=no"}, set(words))
        words = self.ok("exec", "web", "--", "echo", "it's; $HOME", "").splitlines()
        self.assertEqual(words[-4:], ["127.0.0.2", "'echo'", "'it'\\''s; $HOME'", "''"])
        self.assertIn("-oBatchMode=yes", words)

    def test_refusals(self):
        self.create("web", "--net", "user,hostfwd=tcp:127.0.0.1:8080-:80")
        self.refused("nothing leads to its port 22", "ssh", "web")
        self.refused("which command", "exec", "web")


class Console(Managed):
    def console(self, name):
        command = [NACRE, "console", name]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment
        )

    def read(self, process, count):
        text = b""
        while len(text) < count and (more := os.read(process.stdout.fileno(), count - len(text))):
            text += more
        return text

    def end(self, process):
        process.terminate()
        process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 0)

    def test_detach_and_attach_again(self):
        self.create("talk", code=ECHO)
        self.refused("not running", "console", "talk")
        self.ok("start", "talk")
        first = self.console("talk")
        first.stdin.write(b"hello ")
        first.stdin.flush()
        self.assertEqual(self.read(first, 6), b"hello ")
        self.end(first)
        second, third = self.console("talk"), self.console("talk")
        self.assertEqual(self.read(second, 6), b"hello ")
        self.assertEqual(self.read(third, 6), b"hello ")
        second.stdin.write(b"again")
        second.stdin.flush()
        self.assertEqual(self.read(third, 5), b"again")
        self.end(third)
        # The guest's end is the console's.
        second.stdin.write(b"q")
        second.stdin.flush()
        self.assertEqual(second.communicate(timeout=SECONDS)[0], b"againq")
        self.assertEqual(second.returncode, 0)
        with open(self.path("talk", "console.log"), "rb") as file:
            self.assertEqual(file.read(), b"hello againq")

    def test_more_is_typed_than_fits(self):
        self.create("talk", code=ECHO)
        self.ok("start", "talk")
        text = bytes(range(32, 113)) * 400 + b"q"
        process = self.console("talk")
        self.assertEqual(process.communicate(text, timeout=SECONDS)[0], text)


class Refusals(Managed):
    def test_names(self):
        for name in ("", "..", ".hidden", "-x", "a/b", "a" * 33, "ä", "a b"):
            self.refused("must be 1 to 32|unknown option|unexpected argument", "create", name, "--kernel", self.image(b"\xf4"))
        self.create("a" * 32)
        self.refused("there is one already", "create", "a" * 32, "--kernel", self.image(b"\xf4"))

    def test_options_are_checked_when_the_vm_is_made(self):
        kernel = self.image(b"\xf4")
        self.refused("--cpus 99", "create", "a", "--kernel", kernel, "--cpus", "99")
        self.refused("did you mean --memory", "create", "a", "--kernel", kernel, "--memroy", "1G")
        self.refused("nothing that a VM keeps", "create", "a", "--kernel", kernel, "--control", "7")
        self.refused("--kernel: is missing", "create", "a")
        self.assertEqual(self.ok("list"), "")

    def test_a_directory_that_others_can_read(self):
        self.create("open")
        os.chmod(os.path.join(self.folder_of_all, "open"), 0o755)
        self.refused("chmod 700", "start", "open")

    def test_a_damaged_configuration(self):
        self.create("odd")
        for text, why in (
            ("{", "config.json: line 1"),
            ("[]", "is no object"),
            ('{"payload": {"kernel": 7}}', "payload.kernel: must be a text"),
            ('{"gpus": []}', "gpus: nacre knows no such part"),
            ('{"disks": [{"settings": "cache=none"}]}', "disks: an entry is wrong"),
            ('{"cpus": {"boot_vcpus": "two"}}', "cpus.boot_vcpus: must be a number"),
        ):
            with open(self.path("odd", "config.json"), "w") as file:
                file.write(text)
            self.refused(why, "start", "odd")


if __name__ == "__main__":
    unittest.main()
