#!/bin/sh
# Before a removal, but not before an upgrade.
set -e
case "$1" in
remove | 0)
	[ ! -d /run/systemd/system ] || systemctl disable --now portcullis.service portcullis-backup.timer || true
	;;
esac
