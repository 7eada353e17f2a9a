#!/usr/bin/env bash
# Fetches two versions of the Debian package linux-source-6.1 and unpacks them to DIR/old and DIR/new, once.
set -euo pipefail
dir=$1
[ -e "$dir/complete" ] && exit 0
command -v apt-get >/dev/null || exit 1
rm -rf "$dir"
mkdir -p "$dir"
cd "$dir"
# Downloading needs no rights, but lists of packages that are older than the archive name versions that are gone.
apt-get update -qq 2>/dev/null || true
mapfile -t versions < <(apt-cache madison linux-source-6.1 | awk '{print $3}' | sort -V | uniq)
[ "${#versions[@]}" -ge 2 ] || exit 1
for place in old:"${versions[0]}" new:"${versions[-1]}"; do
  name=${place%%:*} version=${place#*:}
  apt-get download -qq "linux-source-6.1=$version"
  dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -x --wildcards -O '*/linux-source-6.1.tar.xz' >sources.tar.xz
  mkdir "$name"
  tar -C "$name" -xf sources.tar.xz
  rm -- linux-source-6.1_*.deb sources.tar.xz
  echo "$name is linux-source-6.1 $version, $(find "$name" -type f | wc -l) files"
done
touch complete
