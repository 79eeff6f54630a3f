#!/bin/sh
# Set-up of `make demo`, `make test` and the other targets: checks Java, Maven and Python, fills .venv once.
# It runs on bare machines, so it is plain sh; it says what it does and, where it cannot go on, what would.
set -eu
cd "$(dirname "$0")/.."

STAMP=.venv/riverlens-setup

say() { printf 'setup: %s\n' "$*"; }
stop() {
    printf 'setup: %s\n' "$*" >&2
    exit 3
}

# The first interpreter of a version we support that really starts: pyenv's shims exist without starting.
find_python() {
    for name in ${PYTHON3:-} python3.13 python3.12 python3.11 python3 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

# Major version of what `java` runs, or "none".
java_major() {
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    printf '%s' "${major:-none}"
}

# A line for each thing that is missing: Debian's package, then what it is in words.
missing() {
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "python3 Python 3.11, 3.12 or 3.13"
        echo "python3-venv Python's venv"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        # python3-venv serves Debian's default interpreter only; the versioned package serves its own.
        "$python" -c 'import sys; print("python3.%d-venv Python'\''s venv" % sys.version_info[1])'
    fi
    if ! command -v mvn >/dev/null 2>&1; then
        echo "maven Maven" # brings a Java, which is looked at in the next round
    elif ! [ "$(java_major)" -ge 17 ] 2>/dev/null; then
        echo "openjdk-17-jre-headless Java 17 or later (found: $(java_major))"
    fi
}

words() { printf '%s\n' "$1" | cut -d ' ' -f 2- | paste -s -d ',' - | sed 's/,/, /g'; }

remedy() {
    system=$( (. /etc/os-release && printf '%s %s' "${ID:-}" "${ID_LIKE:-}") 2>/dev/null || uname -s)
    case $system in
        *debian* | *ubuntu*) printf 'sudo apt-get install -y maven python3-venv' ;;
        *fedora* | *rhel*) printf 'sudo dnf install -y maven python3.12' ;;
        *suse*) printf 'sudo zypper install -y maven python312' ;;
        *arch*) printf 'sudo pacman -S --needed maven python312' ;;
        Darwin*) printf 'brew install maven python@3.13' ;;
        *) printf 'your package manager: Maven, Java 17 or later, Python 3.11, 3.12 or 3.13' ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Install the packages given, refreshing apt's lists only if they do not know one of them or are out of date.
apt_install() {
    as_root true 2>/dev/null && command -v apt-get >/dev/null 2>&1 || return 1
    say "apt-get install -y $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" </dev/null && return
    say "trying again with fresh package lists"
    as_root apt-get update -q </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$@" </dev/null
}

check_system() {
    for _ in 1 2; do
        lacking=$(missing)
        [ -n "$lacking" ] || return 0
        say "missing: $(words "$lacking")"
        # shellcheck disable=SC2046  # a list of words
        apt_install $(printf '%s\n' "$lacking" | cut -d ' ' -f 1) ||
            stop "this needs: $(words "$lacking"). Install with:  $(remedy)"
    done
    lacking=$(missing)
    [ -z "$lacking" ] || stop "still missing: $(words "$lacking"). Install with:  $(remedy)"
}

# The development group of pyproject.toml, one requirement a line: older pips lack the option --group.
dev_group() {
    .venv/bin/python -c 'import tomllib
for line in tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"]: print(line)'
}

pip_install() {
    .venv/bin/python -m pip --quiet --disable-pip-version-check install -c constraints.txt "$@" ||
        stop "pip failed; its lines above say why"
}

fill_venv() {
    wanted=$(cat pyproject.toml constraints.txt | cksum)
    # A .venv that was moved, or whose interpreter is gone, does not start.
    if [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
        rm -rf .venv
        "$(find_python)" -m venv .venv
    fi
    rm -f "$STAMP"
    say "filling .venv ($(.venv/bin/python --version)) with $(grep -c == constraints.txt) pinned packages;" \
        "TensorFlow among them, so a few minutes, once"
    dev_group >.venv/dev-requirements.txt
    # The build back end from our pins too, so not from an isolated environment of pip's choice.
    pip_install hatchling editables setuptools wheel
    pip_install --no-build-isolation -e '.[all]' -r .venv/dev-requirements.txt
    printf '%s\n' "$wanted" >"$STAMP"
    say "done"
}

check_system
fill_venv
