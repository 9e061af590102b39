"""What is told of the command line, in --help, the man page and the completion, and what the program takes."""

import os
import re
import subprocess

import pytest

from plockmount import PLOCKFS, TOP, find_server

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
            "password_file", "replicas", "tls_ca", "tls_cert", "tls_key"} <= told
    assert {w for w in told if w + "=" not in words_of_completion()} == set()
    assert {w for w in told if not re.search(rf"^\.[BI]R?.*\b{w}=", page(), re.MULTILINE)} == set()


@pytest.mark.parametrize("source", ["completion", "page"])
def test_options_are_known_to_the_program(source):
    """One that is known and has a bad or no value is not called unknown."""
    words = words_of_completion() if source == "completion" else \
        {w + "=" for line in page().splitlines() if re.match(r"\.[BI]R?I? ", line) for w in WORD.findall(line)}
    assert len(words) > 10
    for word in words:
        argv = [PLOCKFS, "-o", word + ("1" if word.endswith("=") else ""), "/dev/null/dir", "/dev/null/none"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (1, 2) and "unknown option" not in done.stderr, done.stderr


def test_man_page_is_clean():
    path = os.path.join(TOP, "docs/plockfs.8")
    done = output("groff", "-man", "-ww", "-rCHECKSTYLE=3", "-Tutf8", "-z", path)
    assert done.stdout + done.stderr == ""


def unit_lines(key):
    with open(os.path.join(TOP, "packaging/plockfs@.service.in"), encoding="utf-8") as f:
        return [line.rstrip("\n").split("=", 1)[1] for line in f if line.startswith(key + "=")]


def test_service_starts_again_after_its_server_was_killed(mounts):
    """What systemd runs then, on the dead mount."""
    m = mounts(background=True)
    m.kill()
    for command in unit_lines("ExecStartPre") + unit_lines("ExecStart"):
        argv = [{"@BINDIR@/plockfs": PLOCKFS, "${PLOCKFS_OPTS}": "allow_other", "${PLOCKFS_SOURCE}": m.dir,
                 "%f": m.mnt}.get(word, word) for word in command.lstrip("-").split()]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or command.startswith("-"), done.stderr
    m.pid = find_server(m.mnt)
    m.put("job", b"value")
    assert m.get("job") == b"value"


def test_debian_package_builds_with_what_the_build_needs():
    """Everything that packaging/deps installs to build stands in Build-Depends too."""
    with open(os.path.join(TOP, "packaging/deps"), encoding="utf-8") as f:
        needs = set(re.search(r"^build=\((.*?)\)", f.read(), re.MULTILINE).group(1).split())
    with open(os.path.join(TOP, "packaging/debian/control"), encoding="utf-8") as f:
        has = re.search(r"^Build-Depends: (.*?)^Standards", f.read(), re.MULTILINE | re.DOTALL).group(1)
    # Those are there whenever a package is built, or come with meson or at run time.
    needs -= {"gcc", "libc6-dev", "ninja-build", "fuse3"}
    assert needs <= set(re.findall(r"[a-z0-9.+-]+", has))
