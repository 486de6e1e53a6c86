"""The vault as the daemon keeps it: roots, changes, marks, backups, on a real store."""
