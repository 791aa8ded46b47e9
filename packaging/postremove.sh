#!/bin/sh
# After a removal. A purge, which only Debian knows, deletes all state.
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload || true
if [ "$1" = purge ]; then
	rm -rf /var/lib/portcullis /var/log/portcullis
fi
