#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a user may say and ask: wrong words, lists, generated documents, nacre doctor."""

import os
import shutil
import subprocess
import unittest

from machines import NACRE, ROOT, SECONDS, SLEEP, Case


class Words(Case):
    def refuse(self, *arguments, naming):
        if arguments[-2:-1] == ("--trace-file",):
            arguments = (*arguments, "--trace", "port")
        result = self.nacre(*arguments)
        text = result.stderr.decode()
        self.assertEqual(result.returncode, 2, text)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn(naming, text)
        self.assertEqual(result.stdout, b"")

    def test_version_and_help(self):
        self.assertRegex(self.nacre("--version").stdout, rb"^nacre \d+\.\d+")
        for arguments in (["--help"], ["run", "--help"], ["doctor", "--help"]):
            result = self.nacre(*arguments)
            self.assertEqual(result.returncode, 0)
            self.assertIn(b"xample", result.stdout)

    def test_lists(self):
        for option, words in {
            "--engine": ["auto", "interpret"],
            "--cpu": ["x86-64-v2", "x86-64-v1", "sse4_2"],
            "--trace": ["exits", "port", "mmio", "irq", "msr", "exception"],
        }.items():
            result = self.nacre("run", option, "help")
            self.assertEqual(result.returncode, 0)
            for word in words:
                self.assertIn(word, result.stdout.decode().split())

    def test_unknown_words_get_a_suggestion(self):
        self.refuse("run", "--kernl", "x", naming="--kernel")
        self.refuse("run", "--memroy=1G", naming="--memory")
        self.refuse("run", "stray", naming="stray")
        self.refuse("rum", naming="rum")

    def test_bad_values_name_their_option(self):
        image = self.image(SLEEP)
        for option, values in {
            "--memory": ["", "0", "-1", "1", "5X", "1.5G", "99999999999999T", "4097", "512MM", "1000G"],
            "--cpus": ["", "0", "-1", "17", "2x", "99999999999999999999"],
            "--serial": ["", "tape", "file:", "file:/no/such/folder/file", "unix:", "unix:/no/such/socket", "pty:x"],
            "--console": ["", "tape", "file:", "unix:/no/such/folder/s,server", "unix:/" + "x" * 120 + ",server"],
            "--cpu": ["", "z80"],
            "--engine": ["", "steam"],
            "--engine-switch-every": ["", "0", "-1", "many", "4294967296"],
            "--code-cache": ["", "0", "4K", "1048577", "2T"],
            "--trace": ["", "everything", "port,", "port,x"],
            "--trace-file": ["", "/no/such/folder/trace"],
            "--log-level": ["", "loud"],
            "--log-file": ["", "/no/such/folder/log"],
            "--name": ["", "a b", "x" * 33, "a/b"],
        }.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.refuse("run", "--kernel", image, option, value, naming=option)

    def test_bad_disks(self):
        image = self.image(SLEEP)
        for value in ("", "/no/such/disk", image + ",format=vhd", image + ",readonly=perhaps", self.folder):
            with self.subTest(value):
                self.refuse("run", "--kernel", image, "--disk", value, naming="--disk")

    def test_missing_value(self):
        self.refuse("run", "--kernel", naming="--kernel")

    def test_switch_with_a_value(self):
        self.refuse("run", "--no-reboot=yes", naming="--no-reboot")

    def test_unreadable_kernels(self):
        self.refuse("run", naming="--kernel")
        self.refuse("run", "--kernel", "/no/such/file", naming="/no/such/file")
        self.refuse("run", "--kernel", self.folder, naming=self.folder)
        self.refuse("run", "--kernel", "/dev/null", naming="/dev/null")
        self.refuse("run", "--kernel", __file__, naming=__file__)

    def test_refused_machine_leaves_files_alone(self):
        serial = os.path.join(self.folder, "serial")
        self.refuse("run", "--kernel", "/no/such/file", "--serial", "file:" + serial, naming="/no/such/file")
        self.assertFalse(os.path.exists(serial))


class Documents(Case):
    def compare(self, path, *arguments):
        with open(os.path.join(ROOT, path), "rb") as file:
            self.assertEqual(
                file.read(), self.nacre(*arguments).stdout, f"stale: nacre {' '.join(arguments)} >{path}"
            )

    def test_manual_page_is_what_nacre_prints(self):
        self.compare("docs/nacre.1", "manual")

    def test_completion_is_what_nacre_prints(self):
        self.compare("completions/nacre.bash", "completion")

    def test_completion_completes(self):
        script = (
            f"source {ROOT}/completions/nacre.bash; COMP_WORDS=(nacre run --mem); COMP_CWORD=2; _nacre; "
            "echo ${COMPREPLY[*]}"
        )
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        self.assertEqual(result.stdout.split(), ["--memory"])


class Doctor(Case):
    def test_names_every_feature(self):
        result = self.nacre("doctor")
        self.assertEqual(result.returncode, 0)
        words = (
            "processors", "memory", "KVM", "huge pages", "protection keys", "userfaultfd", "io_uring", "tap networking",
            "seccomp", "Landlock", "user namespaces",
        )  # fmt: skip
        for word in words:
            self.assertRegex(result.stdout.decode(), rf"(?m)^  {word} +\S")

    def test_says_what_an_ordinary_user_gets(self):
        """Whoever may not open /dev/kvm is told so, and nacre still has an engine."""
        if os.getuid() != 0:
            self.skipTest("is an ordinary user already")
        os.chmod(self.folder, 0o755)
        copy = shutil.copy(NACRE, self.folder)
        result = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", copy, "doctor"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"nacre will use: engine \w+,")


if __name__ == "__main__":
    unittest.main()
