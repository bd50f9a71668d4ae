#!/bin/sh
# swift_root.sh DIRECTORY: a Debian with Swift in a directory of its own, as root (3.3 GB).
set -eu
root=$1
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || {
	echo "a Debian with Swift needs root and apt-get: run this on Debian, or swift test on a Mac" >&2
	exit 2
}
command -v debootstrap >/dev/null || {
	apt-get update -qq && apt-get install -y -qq --no-install-recommends debootstrap
}
uri=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | sort -u | head -n 1)
mkdir -p "$root"
root=$(cd "$root" && pwd)
[ -x "$root/usr/bin/apt-get" ] || debootstrap --variant=minbase trixie "$root" "$uri"
DEBIAN_FRONTEND=noninteractive chroot "$root" sh -ec '
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends swiftlang gcc git ca-certificates libc6-dev libstdc++-14-dev'
