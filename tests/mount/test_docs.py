"""What is told of the command line, in --help, the man page and the completion, and what the program takes."""

import os
import re
import subprocess

import pytest

from plockmount import PLOCKFS, TOP

WORD = re.compile(r"\b([a-z_]+)=")
COMPLETION = os.path.join(TOP, "packaging/plockfs.bash-completion")


def output(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True, **more)


def page():
    with open(os.path.join(TOP, "docs/plockfs.8"), encoding="utf-8") as f:
        return re.sub(r"\\f[A-Z]|\\ ", " ", f.read().split(".SH THE TREE")[0])


def words_of_help():
    return {w for line in output(PLOCKFS, "--help").stdout.splitlines() if line.startswith("  -o ")
            for w in WORD.findall(line.strip().split("  ")[0])}


def words_of_completion():
    """What bash offers after -o."""
    script = f"compopt() {{ :; }}; . {COMPLETION}; COMP_WORDS=(plockfs -o ''); COMP_CWORD=2; _plockfs; " \
             "printf '%s\\n' \"${COMPREPLY[@]}\""
    return set(output("bash", "-c", script).stdout.split())


def test_options_are_the_same_everywhere():
    told = words_of_help()
    assert {"timeout", "lost", "max_waiters", "max_value", "umask", "uid", "gid", "ttl", "unavailable", "prefix",
            "password_file", "replicas"} <= told
    assert {w for w in told if w + "=" not in words_of_completion()} == set()
    assert {w for w in told if not re.search(rf"^\.[BI]R?.*\b{w}=", page(), re.MULTILINE)} == set()


@pytest.mark.parametrize("source", ["completion", "page"])
def test_options_are_known_to_the_program(source):
    """One that is known and has a bad or no value is not called unknown."""
    words = words_of_completion() if source == "completion" else \
        {w + "=" for line in page().splitlines() if re.match(r"\.[BI]R?I? ", line) for w in WORD.findall(line)}
    assert len(words) > 10
    for word in words:
        done = subprocess.run([PLOCKFS, "-o", word + ("1" if word.endswith("=") else ""), "/dev/null/none"],
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (1, 2) and "unknown option" not in done.stderr, done.stderr


def test_man_page_is_clean():
    path = os.path.join(TOP, "docs/plockfs.8")
    done = output("groff", "-man", "-ww", "-rCHECKSTYLE=3", "-Tutf8", "-z", path)
    assert done.stdout + done.stderr == ""
