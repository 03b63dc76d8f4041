# SPDX-License-Identifier: Apache-2.0
"""What a run of the benchmark program printed: the times of each test, and whether to believe them.

Lines come with a stamp of the host's: its wall clock, or the CPU time that the machine's process has used so far.
"""

import dataclasses
import math
import re
import statistics

# A guest's clock that strays further than this part from the host's is not used; a line may arrive this many
# seconds late.
CLOCK_TOLERANCE = 0.05
LINE_DELAY = 0.03

BEGIN = re.compile(r"begin (\S+) (\w+) (.*)$")
END = re.compile(r"end (\S+) ([\d.]+) ([\d.]+) ([\d.]+) ([0-9a-f]+)$")


@dataclasses.dataclass
class Test:
    """One test on one machine; seconds for the full work, a sample a round."""

    group: str
    title: str
    samples: list = dataclasses.field(default_factory=list)  # by the guest's clock
    corrected: list = dataclasses.field(default_factory=list)  # by the host's
    checksums: set = dataclasses.field(default_factory=set)


class Run:
    """All tests of one machine, from its lines: (stamp, text)."""

    def __init__(self, lines, pick=statistics.median, by_host=False):
        """pick: makes one figure of a test's rounds. by_host: the stamps are what counts, not the guest's clock."""
        self.tests = {}
        self.pick = pick
        guest_sum = host_sum = began = timed = 0
        for when, line in lines:
            if line.startswith("bench: failed"):
                raise AssertionError(line)
            if match := BEGIN.match(line):
                began = when
                self.tests.setdefault(match[1], Test(match[2], match[3].strip()))
            elif line == "ready":
                began = when
            elif match := END.match(line):
                test, seconds, wall, host = self.tests[match[1]], float(match[2]), float(match[3]), when - began
                test.samples.append(seconds)
                test.checksums.add(match[5])
                if wall and host:  # wall 0: a rate that the program took itself; host 0: there is no guest
                    test.corrected.append(seconds * host / wall)
                    guest_sum += wall
                    host_sum += host
                    timed += 1
        if unfinished := [name for name, test in self.tests.items() if not test.samples]:
            raise AssertionError(f"no end of {', '.join(unfinished)}")
        # How fast the guest's clock runs: 1 is right.
        self.clock = guest_sum / host_sum if host_sum else 1.0
        self.by_host = by_host or abs(guest_sum - host_sum) > CLOCK_TOLERANCE * host_sum + LINE_DELAY * timed

    def samples(self, name):
        test = self.tests[name]
        return test.corrected if self.by_host and test.corrected else test.samples

    def seconds(self, name):
        return self.pick(self.samples(name))

    def spread(self, name):
        """How far the rounds lie apart, as a part of their median."""
        samples = self.samples(name)
        return (max(samples) - min(samples)) / statistics.median(samples)

    def differing(self, native):
        """Tests whose result is not the host's: this machine computed something wrong."""
        common = [name for name in self.tests if name in native.tests]
        return [name for name in common if self.tests[name].checksums != native.tests[name].checksums]


def native_lines(text, processor):
    """Lines of a native run, stamped with nothing, or so that the CPU time of each test lies between its two."""
    lines = []
    for line in text.splitlines():
        match = END.match(line)
        lines.append((float(match[4]) if match and processor else 0, line))
    return lines


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
