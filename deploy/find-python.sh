#!/bin/sh
# Prints the newest Python from 3.11 on that can make a virtual environment; else nothing, and
# status 1. Every directory of PATH is tried: the first one may hold a shim that does not work.
usable() {
    "$1" -I -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1 </dev/null
}

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
