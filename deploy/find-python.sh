#!/bin/sh
# Prints the newest Python from 3.11 on that can make a virtual environment; nothing if there is none.
for name in python3.13 python3.12 python3.11 python3; do
    path=$(command -v "$name" 2>/dev/null) || continue
    "$path" -c 'import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))' \
        2>/dev/null && { echo "$path"; exit 0; }
done
echo python3
