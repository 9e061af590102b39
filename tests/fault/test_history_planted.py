"""Programs with a planted bug: one line of the protocol is disabled, and the history checker must find it."""

import pytest

from history_run import plant, run
from plockmount import PLOCKFS

# The bug, the line it replaces, what may be found, faults that bring it to light.
PLANTS = {
    "exclusive among shared": (
        "return not held or (held == 's' and mode == 's')",
        "return not held or held == 's'", {"both hold"}),
    "an idle hold is in nobody's way": (
        "local held = call('HGET', H(kn), '#')\n\treturn not held or (held == 's' and mode == 's')",
        "return not call('HGET', H(kn), '#') or string.byte(call('HGET', K(), kn) or '') == 105", {"both hold"}),
    "no grace after a loss of memory": (
        "grace = now + math.max(ttl, tonumber(head[5]) or 0)",
        "grace = now", {"both hold", "same slot", "lost without cause"}, {"flushall": 15}),
    "sessions purged before their lease is over": (
        "int(now), 'BYSCORE', 'LIMIT', 0, 4, 'WITHSCORES')\n"
        "\tfor i = 1, #late, 2 do\n"
        "\t\tif late[i] ~= sid and now >= dead_at(late[i], tonumber(late[i + 1])) then\n",
        "int(now + 850), 'BYSCORE', 'LIMIT', 0, 4, 'WITHSCORES')\n"
        "\tfor i = 1, #late, 2 do\n"
        "\t\tif late[i] ~= sid then\n", {"both hold", "same slot", "lost without cause"}),
    "tokens stand still": (
        "floor = math.max(floor + 1, now_us)",
        "floor = math.max(floor, 1)", {"token"}),
    "slot 0 always free": (
        "local _, slot = parse_hold(all[i])\n\t\ttaken[slot] = true",
        "local _, k = parse_hold(all[i])\n\t\ttaken[k] = k > 0", {"same slot"}),
    "a release wakes nobody": (
        "\t\tdrop_wait(kn, member)\n\tend\n\tpump(kn)\n\treturn { 'OK' }\nend\n\nfunction ops.conv",
        "\t\tdrop_wait(kn, member)\n\tend\n\treturn { 'OK' }\nend\n\nfunction ops.conv", {"starved"}),
    "lost memory of values": (
        "call('SETRANGE', V(name), int(off), data)\n",
        "call('GET', V(name))\n", {"old value"}),
}


@pytest.mark.parametrize("name", PLANTS)
def test_planted_bug_is_found(name, tmp_path):
    old, new, kinds, *often = PLANTS[name]
    program = plant(PLOCKFS, str(tmp_path / "plockfs-planted"), old, new)
    found = set()
    for seed in range(1, 9):
        violations, _ = run(14, seed, "redis", program, *often)
        found |= {v.kind for v in violations}
        if found & kinds:
            return
    raise AssertionError(f"found only {found}")
