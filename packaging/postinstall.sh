#!/bin/sh
# After an installation or an upgrade. The service is enabled at the first installation,
# but not started: its Caddyfile names no domain yet.
set -e

# Debian passes `configure` and the former version, RPM how many versions there are now.
first=no
case "$1" in
configure) [ -n "$2" ] || first=yes ;;
1) first=yes ;;
esac

systemd-sysusers portcullis.conf || {
	getent passwd portcullis >/dev/null ||
		useradd --system --home-dir /var/lib/portcullis --shell /usr/sbin/nologin portcullis
}
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload || true
if [ "$first" = yes ]; then
	systemctl enable portcullis.service || true
	if systemctl is-active --quiet caddy.service; then
		echo "The service caddy is running. Only one of the two services can use ports 80 and 443: move its sites to /etc/portcullis/Caddyfile, and run systemctl disable --now caddy."
	fi
	echo "Edit /etc/portcullis/Caddyfile, then run: systemctl restart portcullis"
else
	systemctl try-restart portcullis.service || true
fi
