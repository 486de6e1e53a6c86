#!/bin/sh
# Prints a Python from 3.11 on that can make a virtual environment; else nothing, and status 1.
#
# The system's own goes first: its updates come with the system's, and it is built for speed (of two
# builds of one version, one without profile-guided optimisation was slower by two fifths). Then the
# newest in PATH. Every directory is tried: the first one may hold a shim that does not work.
usable() {
    "$1" -I -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1 </dev/null
}

case :$PATH: in
    *:/usr/bin:*) usable /usr/bin/python3 && echo /usr/bin/python3 && exit 0 ;;
esac
IFS=:
for name in python3.14 python3.13 python3.12 python3.11 python3; do
    for directory in $PATH; do
        path=${directory:-.}/$name
        if [ -x "$path" ] && usable "$path"; then
            echo "$path"
            exit 0
        fi
    done
done
exit 1
