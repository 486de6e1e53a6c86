#!/bin/sh
# Installs what the container and gVisor tiers need and is missing: docker.io and runsc.
#
# Unlike deploy/host-packages.sh it never fails for want of them: without an engine its tier is
# unavailable, calls that need it are refused, and its tests are skipped with the reason. With
# STOCKADE_ENGINES=off it does nothing.
#
# runsc of Debian 12 is too old for current kernels. Debian 13's is one static binary: it is taken
# from this machine's own Debian mirror, at exactly the version below, checked by apt against
# Debian's keys. Its source is known to apt only while this script runs, so nothing else can ever
# be upgraded from it.
set -eu

RUNSC_SUITE=trixie
RUNSC_VERSION=0.0~20240729.0-4 # a rebuild or security update of it will do as well
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

[ "${STOCKADE_ENGINES:-on}" = off ] && exit 0

wanted=""
command -v dockerd >/dev/null 2>&1 || [ -S /var/run/docker.sock ] || wanted="$wanted docker.io"
command -v runsc >/dev/null 2>&1 || wanted="$wanted runsc"
[ -z "$wanted" ] && exit 0

without() { # without WHY: say what will be missing, and leave it at that
    echo "the container and gVisor tiers will not work fully: $1 (missing:$wanted)" >&2
    exit 0
}

command -v apt-get >/dev/null 2>&1 || without "install Docker Engine and runsc with this system's packages"
if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo env"
else
    without "only root can install them: run deploy/engine-packages.sh as root"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mirror() { # where this machine's own Debian packages come from
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|main|//p' | head -n 1
}

runsc_from_its_suite() {
    source=$(mirror)
    [ -n "$source" ] && [ -e "$KEYRING" ] || return 1
    mkdir -p "$work/lists/partial"
    chmod -R a+rX "$work" # apt reads as a user of its own
    echo "deb [signed-by=$KEYRING] $source $RUNSC_SUITE main" >"$work/sources.list"
    set -- -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o Acquire::Languages=none -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root
    (
        cd "$work"
        $as_root apt-get "$@" update
        $as_root apt-get "$@" download "runsc=$RUNSC_VERSION*"
        $as_root dpkg --install runsc_*.deb >/dev/null
    )
}

echo "installing engines:$wanted"
case $wanted in *docker.io*)
    $as_root apt-get update -qq &&
        # No service may be started by the installation: deploy/engines.py does that.
        $as_root DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends docker.io \
            >/dev/null || echo "docker.io could not be installed" >&2
    ;;
esac
case $wanted in *runsc*)
    runsc_from_its_suite || echo "runsc $RUNSC_VERSION could not be installed" >&2
    ;;
esac
