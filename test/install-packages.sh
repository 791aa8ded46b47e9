#!/bin/sh
# Installs the Debian packages that the tests need, where it may: as root on a
# Debian system. Elsewhere it names those that are missing and fails. Where all
# are there it returns at once.
set -eu

packages="chromium chromium-headless-shell chromium-sandbox firefox-esr fonts-dejavu fonts-noto-core fonts-noto-color-emoji libnss3-tools oathtool zbar-tools nodejs npm curl openssl git cadaver rclone restic skopeo docker-registry radicale vdirsyncer prometheus postgresql apache2-utils argon2 whois"

# installed NAME: whether dpkg has the package installed and configured.
installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null 2>&1; then
	echo "This is not a Debian system. The tests need what these Debian packages hold: $packages" >&2
	for program in chromium chromium-headless-shell firefox-esr certutil oathtool zbarimg node npm curl openssl git cadaver rclone restic skopeo docker-registry radicale vdirsyncer prometheus initdb htpasswd argon2 mkpasswd; do
		command -v "$program" >/dev/null 2>&1 || { echo "Missing: $program" >&2; exit 1; }
	done
	exit 0
fi

missing=""
for package in $packages; do
	# Node's own packages bring npm along, and can't stand beside Debian's.
	[ "$package" = npm ] && command -v npm >/dev/null 2>&1 && continue
	installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests need these Debian packages: apt-get install$missing" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists may be old or empty; without a network the packages may still be
# in the cache, so only the installation decides.
apt-get update -qq >"$log" 2>&1 || true
# shellcheck disable=SC2086 # one word for each package
if ! apt-get install -qq -y --no-install-recommends $missing >>"$log" 2>&1; then
	cat "$log" >&2
	echo "Could not install:$missing" >&2
	exit 1
fi
