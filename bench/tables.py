# SPDX-License-Identifier: Apache-2.0
"""The report: tables in markdown, from the measurements of native and of each machine."""

from measurements import geometric_mean

# What issue 3 asks of the translator: at most so many times native, by group.
BARS = {"compute": 1.3, "memory": 2.0, "kernel": 5.0}
PROGRAMS_BAR = 1.8  # the geometric mean
SPEEDUP_BAR = 4.0  # over QEMU TCG, the geometric mean
SCALING_BAR = 1.9
START_BAR = 0.8  # seconds
MEMORY_BAR = 0.5  # of TCG's
PEER = "QEMU TCG"


def markdown(rows):
    lines = [rows[0], ["---"] + ["---:"] * (len(rows[0]) - 1), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def plain(value):
    return "" if value is None else f"{value:.3f}"


def times(value):
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def ratio(native, run, name):
    """Times native, or None where the machine did not run the test."""
    return run.seconds(name) / native.seconds(name) if name in run.tests else None


def speedup(peer, run, name):
    """How many times faster than the peer."""
    return peer.seconds(name) / run.seconds(name) if peer and name in run.tests and name in peer.tests else None


def columns(runs):
    """(machine, is a speedup column wanted) in order."""
    return [(name, name.startswith("nacre") and PEER in runs) for name in runs]


def header(runs, first):
    row = [first, "native s"]
    for name, wanted in columns(runs):
        row += [f"{name} s", "/ native"] + ([f"{PEER} / it"] if wanted else [])
    return row


def mean_row(title, native, runs, names):
    row = [title, ""]
    for name, wanted in columns(runs):
        ratios = [ratio(native, runs[name], test) for test in names]
        row += ["", times(geometric_mean([value for value in ratios if value]))]
        if wanted:
            gains = [speedup(runs[PEER], runs[name], test) for test in names]
            row.append(times(geometric_mean([value for value in gains if value])))
    return row


def comparison(native, runs, first="test"):
    """A row a test, then the geometric means of each group and of all."""
    rows = [header(runs, first)]
    groups = {}
    for name, test in native.tests.items():
        groups.setdefault(test.group, []).append(name)
        row = [test.title, plain(native.seconds(name))]
        for machine, wanted in columns(runs):
            run = runs[machine]
            row += [plain(run.seconds(name) if name in run.tests else None), times(ratio(native, run, name))]
            row += [times(speedup(runs[PEER], run, name))] if wanted else []
        rows.append(row)
    if len(groups) > 1:
        rows += [mean_row(f"geometric mean, {group}", native, runs, names) for group, names in groups.items()]
    rows.append(mean_row("geometric mean", native, runs, list(native.tests)))
    return markdown(rows)


def scaling(run):
    return run.seconds("alone") / run.seconds("parallel")


def scaling_table(native, runs):
    rows = [["machine", "2 CPUs / 1 CPU"]]
    rows += [[name, f"{scaling(run):.2f}"] for name, run in [("native", native), *runs.items()]]
    return markdown(rows)


def startup_table(machines):
    """machines: {name: {"first_line": ..., "at_rest": ..., "firmware": ...}}, a part missing where it was not measured."""
    rows = [["machine", "power-on to init, s", "SeaBIOS to GRUB's menu, s", "OVMF to its boot manager, s", "resident MB", "proportional MB",
             "not guest memory MB", "memfd MB", "idle, % of a core"]]  # fmt: skip
    for name, parts in machines.items():
        row = [name, f"{parts['first_line']['median']:.2f}" if "first_line" in parts else ""]
        row += [f"{parts['firmware'][kind]['median']:.2f}" if "firmware" in parts else "" for kind in ("bios", "uefi")]
        if rest := parts.get("at_rest"):
            row += [f"{rest['resident']:.0f}", f"{rest['proportional']:.0f}", f"{rest['other']:.1f}", f"{rest['memfd']:.0f}",
                    f"{rest['cpu_percent']:.1f}"]  # fmt: skip
        else:
            row += [""] * 5
        rows.append(row)
    return markdown(rows)


def list_or_none(items):
    return ", ".join(items) if items else "none"


def test_bars(native, run, peer):
    lines = []
    if peer:
        gains = {test: value for test in run.tests if (value := speedup(peer, run, test))}
        slower = [f"{test} {value:.2f}" for test, value in gains.items() if value < 1]
        lines.append(f"slower than {PEER}: {list_or_none(slower)}")
        lines.append(f"faster than {PEER}: {times(geometric_mean(gains.values()))} (asked {SPEEDUP_BAR:g})")
    for group, bar in BARS.items():
        over = [f"{test} {times(ratio(native, run, test))}" for test, what in run.tests.items()
                if what.group == group and (ratio(native, run, test) or 0) > bar]  # fmt: skip
        lines.append(f"{group} tests over {bar:g} times native: {list_or_none(over)}")
    return lines


def program_bars(native, run, _):
    mean = geometric_mean([ratio(native, run, test) for test in run.tests])
    return [f"real programs: {times(mean)} times native (asked {PROGRAMS_BAR:g})"]


def smp_bars(_, run, __):
    return [f"2 CPUs against 1: {scaling(run):.2f} (asked {SCALING_BAR:g})"]


def startup_bars(parts, peer):
    lines = [f"power-on to init: {parts['first_line']['median']:.2f} s (asked {START_BAR:g})"]
    if peer and "at_rest" in peer:
        part = parts["at_rest"]["resident"] / peer["at_rest"]["resident"]
        lines.append(f"resident memory: {part:.2f} of {PEER}'s (asked {MEMORY_BAR:g})")
    return lines


def bars(sections):
    """Lines that say what each nacre engine reaches of what is asked. sections: {name: object with native and runs}."""
    kinds = {"tests": test_bars, "smp": smp_bars, "programs": program_bars}
    lines = []
    for name, lines_of in kinds.items():
        if section := sections.get(name):
            for machine, run in section.runs.items():
                if machine.startswith("nacre"):
                    lines += [f"- {machine}: {line}" for line in lines_of(section.native, run, section.runs.get(PEER))]
    for machine, parts in sections.get("startup", {}).items():
        if machine.startswith("nacre"):
            lines += [f"- {machine}: {line}" for line in startup_bars(parts, sections["startup"].get(PEER))]
    return lines
