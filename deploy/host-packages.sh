#!/bin/sh
# Installs the host packages that are missing, or prints the exact command to type.
#
#   deploy/host-packages.sh run     what Stockade needs to run
#   deploy/host-packages.sh test    that, and what the tests start for real
set -eu

missing=""
need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_file() { # need_file PACKAGE PATTERN...
    package=$1
    shift
    for file in "$@"; do [ -e "$file" ] && return 0; done
    missing="$missing $package"
}

need bwrap bubblewrap
need_file python3 /usr/bin/python3 # the run_python tool's interpreter, inside the sandbox
need_file libseccomp2 /usr/lib/*/libseccomp.so.2 /lib/*/libseccomp.so.2 /usr/lib/libseccomp.so.2
python=$(deploy/find-python.sh)
"$python" -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
if [ "${1:-run}" = test ]; then
    need gnome-keyring-daemon gnome-keyring
    need dbus-run-session dbus
    need openssl openssl
    need setpriv util-linux
    need gcc gcc
    need git git
    need tmux tmux
fi

[ -z "$missing" ] && exit 0

command="apt-get install --yes --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "missing:$missing (Debian's names); install them with this system's package manager" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    echo "Stockade needs packages that only root can install. Type:" >&2
    echo "    sudo apt-get update && sudo $command" >&2
    exit 1
fi
echo "installing host packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to be split
$as_root $command >/dev/null
