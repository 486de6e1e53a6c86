#!/bin/sh
# Installs the host packages that are missing, or prints the exact command to type.
#
#   deploy/host-packages.sh python  what a virtual environment needs
#   deploy/host-packages.sh run     that, and what Stockade needs to run
#   deploy/host-packages.sh test    that, and what the tests start for real
#
# Looks for commands and files, not for packages: however they came to be there, they will do.
set -eu

here=$(dirname "$0")
purpose=${1:-run}
case $purpose in
    python | run | test) ;;
    *) echo "usage: deploy/host-packages.sh [python|run|test]" >&2; exit 2 ;;
esac

need() { # need COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need_program() { # need_program PACKAGE PATH: the sandbox uses this one, whatever PATH says
    [ -x "$2" ] || missing="$missing $1"
}
need_file() { # need_file PACKAGE PATTERN...
    package=$1
    shift
    for file in "$@"; do [ -e "$file" ] && return 0; done
    missing="$missing $package"
}
before_trixie() { # until then docker.io had the command, too
    (. /etc/os-release && [ "$ID" != debian ] || [ "${VERSION_ID:-99}" -lt 13 ]) 2>/dev/null
}
look() { # sets missing
    missing=""
    "$here/find-python.sh" >/dev/null || missing=" python3-venv"
    [ "$purpose" = python ] && return 0
    need_program bubblewrap /usr/bin/bwrap
    need_program python3 /usr/bin/python3 # the interpreter of run_python
    need_file libseccomp2 /usr/lib/*/libseccomp.so.2 /lib/*/libseccomp.so.2 /usr/lib/libseccomp.so.2 \
        /usr/lib64/libseccomp.so.2
    [ "$purpose" = run ] && return 0
    need gnome-keyring-daemon gnome-keyring
    need dbus-run-session dbus-daemon
    need_file dbus /usr/lib/systemd/system/dbus.service /lib/systemd/system/dbus.service
    need_file libpam-systemd /usr/lib/*/security/pam_systemd.so /lib/*/security/pam_systemd.so
    need openssl openssl
    need testssl testssl.sh
    need setpriv util-linux
    need gcc gcc
    need_file libc6-dev /usr/include/stdio.h
    need git git
    need softhsm2-util softhsm2
    need faketime faketime
    need tmux tmux
    need ssh openssh-client
    need_program openssh-server /usr/sbin/sshd
    need notify-send libnotify-bin
    need strace strace
    need pgrep procps
    need_program systemd /usr/lib/systemd/systemd
    [ "${STOCKADE_ENGINES:-on}" = off ] || before_trixie || need docker docker-cli
}
fail() { # fail LINE...
    printf '%s\n' "$@" >&2
    exit 1
}

look
[ -z "$missing" ] && exit 0

command="apt-get install --yes --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    fail "Stockade needs:$missing" "These are Debian's names; install them with this system's package manager."
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif ! command -v sudo >/dev/null 2>&1; then
    fail "Stockade needs packages that only root can install. Type:" \
        "    su -c 'apt-get update && $command'"
elif sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    fail "Stockade needs packages that only root can install. Type:" \
        "    sudo apt-get update && sudo $command"
fi

echo "installing host packages:$missing"
# shellcheck disable=SC2086 # the list is meant to be split
{
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive $command >/dev/null
} || fail "That did not work (see above). When it can, type:" "    apt-get update && $command"

look
[ -z "$missing" ] && exit 0
case $missing in
    *python3-venv*) fail "Stockade needs Python 3.11 or newer; this system's packages have none." \
        "Install one (for example with uv or pyenv) so that it is found in PATH, then try again." ;;
    *) fail "Installed, and still not found:$missing" ;;
esac
