# SPDX-License-Identifier: Apache-2.0
"""A small VNC client (RFC 6143): raw and desktop-size encodings, no or VNC authentication."""

import socket
import struct
import subprocess
import time

from harness.machine import TIME_SCALE

RAW, DESKTOP_SIZE = 0, -223


def des_response(password, challenge):
    """The challenge under DES with the password, whose bits each byte takes in reverse. RFC 6143 §7.2.2"""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0")[:8])
    command = ["openssl", "enc", "-des-ecb", "-K", key.hex(), "-nopad", "-provider", "legacy", "-provider", "default"]
    return subprocess.run(command, input=challenge, capture_output=True, check=True).stdout


class Refused(Exception):
    pass


class VncClient:
    """Connects; `dots` holds the picture as rows of (red, green, blue) bytes."""

    def __init__(self, port, host="127.0.0.1", password=None, seconds=20):
        self.socket = socket.create_connection((host, port), seconds)
        try:
            self.shake_hands(password)
        except BaseException:
            self.socket.close()
            raise

    def shake_hands(self, password):
        self.version = self.take(12)
        self.socket.sendall(b"RFB 003.008\n")
        self.kinds = self.take(self.number("B"))
        if not self.kinds:
            raise Refused(self.text())
        wanted = 1 if password is None else 2
        if wanted not in self.kinds:
            raise Refused(f"security types {self.kinds}")
        self.socket.sendall(bytes([wanted]))
        if password is not None:
            self.socket.sendall(des_response(password, self.take(16)))
        if self.number("I"):
            raise Refused(self.text())
        self.socket.sendall(b"\1")  # others may look, too
        self.width, self.height = struct.unpack(">HH", self.take(4))
        self.take(16)
        self.name = self.text()
        # 32 bits a dot, little-endian, 0x00rrggbb
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))
        self.dots = bytearray(self.width * self.height * 4)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def take(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the VNC server has closed the connection")
            data += more
        return data

    def number(self, kind):
        return struct.unpack(">" + kind, self.take(struct.calcsize(kind)))[0]

    def text(self):
        return self.take(self.number("I")).decode()

    def update(self):
        """Asks for the whole picture."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
        while self.number("B") != 0:  # neither a bell nor a clipboard is a picture
            pass
        self.take(1)
        for _ in range(self.number("H")):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == DESKTOP_SIZE:
                self.width, self.height = width, height
                self.dots = bytearray(width * height * 4)
                continue
            for row in range(height):
                start = ((y + row) * self.width + x) * 4
                self.dots[start : start + width * 4] = self.take(width * 4)

    def wait_for(self, condition, seconds=60):
        """Until the picture is as wanted."""
        deadline = time.monotonic() + seconds * TIME_SCALE
        self.update()
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"the picture of {self.width}x{self.height} with {self.lit()} dots is not what it should be")
            time.sleep(0.1)
            self.update()

    def dot(self, x, y):
        blue, green, red, _ = self.dots[(y * self.width + x) * 4 :][:4]
        return red, green, blue

    def lit(self):
        """How many dots are not black."""
        return sum(1 for i in range(0, len(self.dots), 4) if self.dots[i : i + 3] != b"\0\0\0")

    def key(self, keysym, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def type(self, text):
        for character in text:
            keysym = 0xFF0D if character == "\n" else ord(character)
            self.key(keysym, True)
            self.key(keysym, False)

    def pointer(self, x, y, buttons=0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))
