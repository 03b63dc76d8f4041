#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The API as a client of Cloud Hypervisor's uses it: `nacre vmm`, and requests by curl."""

import json
import os
import subprocess
import time
import unittest

from machines import NACRE, ROOT, POWER_OFF, SECONDS, SLEEP
from managed import Managed, curl


class Api(Managed):
    def setUp(self):
        super().setUp()
        self.socket = os.path.join(self.folder, "api.sock")
        self.vmm = subprocess.Popen([NACRE, "vmm", "--api-socket", self.socket], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end)
        self.assertIn("serving the API", self.vmm.stderr.readline())

    def end(self):
        self.vmm.terminate()
        self.vmm.wait(SECONDS)
        self.vmm.stderr.close()

    def get(self, endpoint):
        return curl(self.socket, "GET", f"/api/v1/{endpoint}")

    def put(self, endpoint, body=None):
        return curl(self.socket, "PUT", f"/api/v1/{endpoint}", body)

    def config(self, code=SLEEP):
        return {"payload": {"kernel": self.image(code)}, "memory": {"size": 16 << 20}, "rng": {"src": "/dev/urandom"}}

    def state(self):
        return self.get("vm.info")[1]["state"]

    def test_life(self):
        self.assertEqual(self.get("vm.info")[0], 404)
        self.assertEqual(self.put("vm.boot")[0], 404)
        self.assertEqual(self.put("vm.create", self.config()), (204, ""))
        self.assertEqual(self.state(), "Created")
        self.assertEqual(self.put("vm.pause")[0], 405)
        self.assertEqual(self.put("vm.boot"), (204, ""))
        self.assertEqual(self.state(), "Running")
        self.assertEqual(self.put("vm.create", self.config())[0], 405)
        self.assertEqual(self.put("vm.pause"), (204, ""))
        self.assertEqual(self.state(), "Paused")
        self.assertEqual(self.put("vm.pause")[0], 405)
        self.assertEqual(self.put("vm.resume"), (204, ""))
        self.assertEqual(self.put("vm.power-button"), (204, ""))
        self.assertEqual(self.put("vm.reboot"), (204, ""))
        self.assertEqual(self.put("vm.shutdown"), (204, ""))
        self.assertEqual(self.state(), "Shutdown")
        self.assertEqual(self.put("vm.boot"), (204, ""))
        self.assertEqual(self.state(), "Running")
        self.assertEqual(self.put("vm.delete"), (204, ""))
        self.assertEqual(self.get("vm.info")[0], 404)
        self.assertEqual(self.put("vmm.shutdown"), (204, ""))
        self.assertEqual(self.vmm.wait(SECONDS), 0)
        self.assertFalse(os.path.exists(self.socket))

    def test_info(self):
        ping = self.get("vmm.ping")
        self.assertEqual(ping[1]["pid"], self.vmm.pid)
        self.put("vm.create", self.config())
        info = self.get("vm.info")[1]
        self.assertEqual(info["memory_actual_size"], 16 << 20)
        self.assertEqual(info["config"]["cpus"], {"boot_vcpus": 1})

    def test_a_guest_that_powers_off_ends_the_vmm(self):
        self.put("vm.create", self.config(POWER_OFF))
        self.put("vm.boot")
        self.assertEqual(self.vmm.wait(SECONDS), 0)

    def test_a_boot_that_fails_can_be_tried_again(self):
        config = self.config()
        os.rename(config["payload"]["kernel"], config["payload"]["kernel"] + ".away")
        self.put("vm.create", config)
        status, lines = self.put("vm.boot")
        self.assertEqual((status, lines[0]), (500, "Error from API"))
        self.assertRegex(lines[1], "No such file")
        self.assertEqual(self.state(), "Created")
        os.rename(config["payload"]["kernel"] + ".away", config["payload"]["kernel"])
        self.assertEqual(self.put("vm.boot"), (204, ""))

    def test_bad_requests(self):
        self.assertEqual(self.get("vm.nonsense")[0], 404)
        self.assertEqual(curl(self.socket, "GET", "/")[0], 404)
        self.assertEqual(self.get("vm.boot")[0], 405)
        self.assertEqual(self.put("vm.create")[0], 400)
        for body in ("", "{", "[]", "null", '{"a": 1, "a": 2}', "[" * 100000, '{"gpus": 1}', '{"net": 7}'):
            self.assertEqual(self.put("vm.create", body)[0], 400, body[:40])
        self.assertEqual(self.put("vm.create", '{"a": "' + "x" * (2 << 20) + '"}')[0], 413)
        self.assertEqual(self.get("vmm.ping")[0], 200)

    def schema(self, name):
        with open(os.path.join(ROOT, "docs", "openapi.json")) as file:
            return json.load(file)["components"]["schemas"][name]

    def follows(self, value, name):
        schema = self.schema(name)
        self.assertLessEqual(set(schema["required"]), set(value))
        self.assertLessEqual(set(value), set(schema["properties"]))

    def test_answers_are_as_described(self):
        self.follows(self.get("vmm.ping")[1], "VmmPingResponse")
        self.put("vm.create", self.config())
        self.put("vm.boot")
        info = self.get("vm.info")[1]
        self.follows(info, "VmInfo")
        self.assertLessEqual(set(info["config"]), set(self.schema("VmConfig")["properties"]))
        self.assertIsInstance(self.get("vm.counters")[1]["vcpu0"]["instructions"], int)

    def test_events_are_streamed(self):
        command = ["curl", "-sN", "--unix-socket", self.socket, "http://localhost/api/v1/events"]
        stream = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.3)
        self.put("vm.create", self.config())
        self.put("vm.boot")
        self.put("vmm.shutdown")
        events = [json.loads(line) for line in stream.communicate(timeout=SECONDS)[0].splitlines()]
        self.assertEqual([event["event"] for event in events], ["created", "booting", "booted", "ending", "shutdown"])
        for event in events:
            self.follows(event, "Event")
        self.assertRegex(events[0]["by"], r"\w+ \(process \d+\)")

    def test_metrics(self):
        self.put("vm.create", self.config())
        self.put("vm.boot")
        text = curl(self.socket, "GET", "/metrics")[1]
        self.assertIn('nacre_vm_state{state="Running"} 1', text)
        self.assertRegex(text, r'nacre_device_total\{device="vcpu0",counter="instructions"\} \d+')
        for line in text.splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [0-9.e+-]+)$")

    def test_many_clients_at_once(self):
        clients = [
            subprocess.Popen(
                ["curl", "-s", "--unix-socket", self.socket, "http://localhost/api/v1/vmm.ping"], stdout=subprocess.PIPE
            )
            for _ in range(20)
        ]
        for client in clients:
            self.assertIn(b"version", client.communicate(timeout=SECONDS)[0])

    def test_the_socket_is_private(self):
        self.assertEqual(os.stat(self.socket).st_mode & 0o777, 0o600)
        second = subprocess.run([NACRE, "vmm", "--api-socket", self.socket], capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(second.returncode, 2)
        self.assertIn("another process serves it", second.stderr)


if __name__ == "__main__":
    unittest.main()
