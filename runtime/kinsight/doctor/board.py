"""Examines the machine: what it is, how hot it is, and whether it was slowed down."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kinsight.catalogue.fit import gigabytes
from kinsight.doctor.findings import Finding
from kinsight.machine import Machine, output_of

HOT = 80.0  # degrees Celsius, from where a Raspberry Pi and a Jetson slow down
_NOW = {
    0: "too little voltage",
    1: "its clock is capped",
    2: "it is slowed down",
    3: "it is near its heat limit",
}
_SINCE = {bit + 16: words for bit, words in _NOW.items()}
"""Bits of `vcgencmd get_throttled`, as the Raspberry Pi documentation has them."""
_SUPPLY = "use the power supply that the maker sells for it"
_COOL = "cool it, with a fan or a heat sink"


def examine_machine(machine: Machine) -> Iterator[Finding]:
    """Board, memory and temperature; then what has slowed it down, where it can tell."""
    degrees = machine.temperature()
    memory = gigabytes(machine.memory) if machine.memory else "an unknown amount"
    words = f"{machine.name}, {memory} of memory"
    words += "" if degrees is None else f", {degrees:.0f} degrees Celsius"
    hot = degrees is not None and degrees >= HOT
    yield Finding("machine", "note" if hot else "well", words, _COOL if hot else "")
    yield from _throttled()
    yield from _power_mode()


def _throttled() -> Iterator[Finding]:
    """Of a Raspberry Pi; nothing on another machine."""
    found = re.fullmatch(r"throttled=0x([0-9a-fA-F]+)", output_of(["vcgencmd", "get_throttled"]) or "")
    if not found:
        return
    bits = int(found[1], 16)
    now = [words for bit, words in _NOW.items() if bits >> bit & 1]
    since = [words for bit, words in _SINCE.items() if bits >> bit & 1 and words not in now]
    if not bits:
        yield Finding("throttling", "well", "none since it was started")
        return
    told = [f"now: {', '.join(now)}"] if now else []
    told += [f"since it was started: {', '.join(since)}"] if since else []
    yield Finding("throttling", "note", "; ".join(told), _SUPPLY if bits & 0x10001 else _COOL)


def _power_mode() -> Iterator[Finding]:
    """Of a Jetson; nothing on another machine."""
    found = re.search(r"^NV Power Mode: (\S+)", output_of(["nvpmodel", "-q"]) or "", re.M)
    if not found:
        return
    fast = found[1].upper().startswith("MAXN")
    mend = "" if fast else "sudo nvpmodel -m 0, and sudo jetson_clocks while it is cooled, make it faster"
    yield Finding("power mode", "well" if fast else "note", found[1], mend)
