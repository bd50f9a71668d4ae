#!/bin/sh
# debian_suite.sh SUITE ARCHITECTURE DIRECTORY [-d] PACKAGE...: unpack packages of another Debian
# suite or architecture into a directory; -d takes what they depend on too. Nothing is installed:
# apt gets lists and a state of its own. Signatures are checked with the machine's keys.
set -eu
suite=$1 architecture=$2 directory=$(mkdir -p "$3" && cd "$3" && pwd)
shift 3
dependencies=no
if [ "$1" = -d ]; then dependencies=yes; shift; fi
uri=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | sort -u | head -n 1)
[ -n "$uri" ] || { echo "this machine's apt names no Debian archive" >&2; exit 2; }
state="$directory/.apt-$suite-$architecture"
mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/log"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$state/sources"
: >"$state/status"
apt() {
	apt-get -qq -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" \
		-o Dir::State="$state" -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" \
		-o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives" -o Dir::Log="$state/log" \
		-o Dir::Etc::sourcelist="$state/sources" -o Dir::Etc::sourceparts=- \
		-o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "$@"
}
apt update
if [ $dependencies = yes ]; then
	apt install --no-install-recommends --yes --download-only "$@"
else
	(cd "$state/archives" && apt download "$@")
fi
for file in "$state"/archives/*.deb; do dpkg-deb -x "$file" "$directory"; done
rm -rf "$state"
