# SPDX-License-Identifier: Apache-2.0
"""VMs with names and an API: commands with a state directory of their own, and requests by curl."""

import json
import os
import subprocess
import time

from machines import NACRE, SECONDS, SLEEP, Case


class Managed(Case):
    def setUp(self):
        super().setUp()
        self.folder_of_all = os.path.join(self.folder, "state")
        self.environment = {**os.environ, "NACRE_STATE": self.folder_of_all}
        self.addCleanup(self.end_all)

    def end_all(self):
        for name in os.listdir(self.folder_of_all) if os.path.isdir(self.folder_of_all) else []:
            self.run_nacre("stop", name, "--force")

    def run_nacre(self, *arguments):
        # Not capture_output: what runs on in the background may keep a pipe open for ever.
        with open(os.path.join(self.folder, "out"), "w+") as out, open(os.path.join(self.folder, "err"), "w+") as err:
            result = subprocess.run(
                [NACRE, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.environment, timeout=SECONDS
            )
            out.seek(0)
            err.seek(0)
            result.stdout, result.stderr = out.read(), err.read()
        return result

    def ok(self, *arguments):
        result = self.run_nacre(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return result.stdout

    def refused(self, pattern, *arguments):
        result = self.run_nacre(*arguments)
        self.assertEqual(result.returncode, 2, arguments)
        self.assertRegex(result.stderr, rf"\Anacre(\(\w+\))?: [^\n]*{pattern}[^\n]*\n\Z")

    def create(self, name, *more, code=SLEEP):
        self.ok("create", name, "--kernel", self.image(code), "--memory", "16M", *more)

    def path(self, name, file="api.sock"):
        return os.path.join(self.folder_of_all, name, file)

    def listed(self):
        """Name: state, as nacre list says."""
        return {line.split()[0]: line.split()[1] for line in self.ok("list").splitlines()[1:]}

    def wait_until(self, name, state):
        deadline = time.monotonic() + SECONDS
        while (seen := self.listed()[name]) != state:
            self.assertLess(time.monotonic(), deadline, f"{seen}, not {state}")
            time.sleep(0.05)

    def events(self, name):
        with open(self.path(name, "events.log")) as file:
            return [json.loads(line)["event"] for line in file]


def curl(socket, method, path, body=None, *more):
    """Status and answer: JSON if it is, else text."""
    command = ["curl", "-sS", "--max-time", str(SECONDS), "--unix-socket", socket, "-X", method, "-w", "\n%{http_code}"]
    if body is not None:
        command += ["-H", "Content-Type: application/json", "--data-binary", "@-"]
    text = body if isinstance(body, (str, type(None))) else json.dumps(body)
    command = [*command, *more, f"http://localhost{path}"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    text, _, status = done.stdout.rpartition("\n")
    try:
        return int(status), json.loads(text)
    except ValueError:
        return int(status), text
