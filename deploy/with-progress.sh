#!/bin/sh
# Runs a command that says much for long: a terminal is shown its newest line, in one place.
#
#   deploy/with-progress.sh COMMAND [ARGUMENT...]
#
# Where there is no terminal nothing is said. If the command fails all that it said is, and its
# status is ours.
set -u

log=$(mktemp) || exit 1
"$@" >"$log" 2>&1 &
running=$!
trap 'rm -f "$log"' EXIT
trap 'kill "$running" 2>/dev/null; exit 130' INT TERM HUP

while kill -0 "$running" 2>/dev/null; do
    # Without control characters, and cut: it must stay on its line.
    [ -t 1 ] && printf '\r  %-76.76s' "$(tail -n 1 "$log" | tr -cd ' -~')"
    sleep 0.3
done
[ -t 1 ] && printf '\r%78s\r' ''
wait "$running"
status=$?
[ "$status" -eq 0 ] || cat "$log" >&2
exit "$status"
