#!/bin/sh
# Installs what building and testing mvcc need on Debian 12. Does nothing when all is there.
set -eu
packages="gcc g++ cmake ninja-build flex bison llvm-19-dev libzstd-dev zlib1g-dev libpng-dev
  libjansson-dev libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libcmocka-dev python3 python3-numpy"
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
    missing="$missing $package"
done
[ -z "$missing" ] && exit 0
as_root=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "setup: run as root, or install:$missing" >&2; exit 1; }
  as_root=sudo
fi
echo "setup: installing$missing" >&2
$as_root apt-get update -qq
# shellcheck disable=SC2086  # the list is split on purpose
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
