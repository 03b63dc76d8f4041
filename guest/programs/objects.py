# SPDX-License-Identifier: Apache-2.0
"""The benchmark's work for python3: what its programs spend their time on, in fixed amounts, and nothing imported."""


class Shape:
    """Attributes, methods and calls through a base class."""

    def __init__(self, width, height):
        self.width = width
        self.height = height

    def area(self):
        return self.width * self.height


class Box(Shape):
    def __init__(self, width, height, depth):
        super().__init__(width, height)
        self.depth = depth

    def volume(self):
        return self.area() * self.depth


def objects(count):
    total = 0
    for i in range(count):
        box = Box(i % 7, i % 11, i % 13)
        box.depth += 1
        total += box.volume() if i & 1 else box.area()
    return total


def dictionaries(count):
    words = {}
    for i in range(count):
        key = f"word{i * 7919 % 5003}"
        words[key] = words.get(key, 0) + i
    return sum(words.values()) + len(words)


def sorting(count):
    value, values = 1, []
    for _ in range(count):
        value = value * 1103515245 + 12345 & 0x7FFFFFFF
        values.append(value)
    values.sort(key=lambda x: x ^ 0x5A5A)
    return sum(v for i, v in enumerate(values) if i % 3 == 0)


def strings(count):
    parts = [f"{i:05d}:{'abcdefgh'[i % 8]}" for i in range(count)]
    text = ",".join(parts)
    return sum(len(part.split(":")[1]) for part in text.replace("a", "xyz").split(","))


def recursion(n):
    return n if n < 2 else recursion(n - 1) + recursion(n - 2)


def main():
    print(objects(100000), dictionaries(150000), sorting(80000), strings(80000), recursion(23), 3**4000 % 1000007)


main()
