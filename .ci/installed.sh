#!/usr/bin/env bash
# Builds the examples of C and C++ from an installed prefix alone, by pkg-config and by CMake, and runs them: installed.sh PREFIX
set -euo pipefail
prefix=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)/backup-ffi
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# A copy, so that nothing of the source tree's headers is found by accident.
mkdir -p "$place/source/tests"
cp -r "$here/examples" "$place/source/examples"
cp -r "$here/tests/installed" "$place/source/tests/installed"

# The folder of C++ there and back.
round() {
  rm -rf "$place/target" "$place/repository"
  BACKUP_REPOSITORY=$place/repository BACKUP_PASSPHRASE=example "$1" "$place/source" "$place/target"
  diff -r "$place/source" "$place/target"
}

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name backup.pc)")
export PKG_CONFIG_PATH
pkg-config --print-errors --exists 'backup >= 0.1'
libdir=$(pkg-config --variable=libdir backup)
# shellcheck disable=SC2046 # the words are separate arguments
cc -std=c99 -o "$place/own" "$place/source/examples/own.c" $(pkg-config --cflags --libs backup) "-Wl,-rpath,$libdir"
# shellcheck disable=SC2046
c++ -std=c++17 -o "$place/to_s3" "$place/source/examples/to_s3.cpp" $(pkg-config --cflags --libs backup) "-Wl,-rpath,$libdir"
"$place/own"
round "$place/to_s3"

cmake -S "$place/source/tests/installed" -B "$place/build" -DCMAKE_PREFIX_PATH="$prefix" >"$place/log" || { cat "$place/log"; exit 1; }
cmake --build "$place/build" >"$place/log" || { cat "$place/log"; exit 1; }
"$place/build/own-shared"
"$place/build/own-static"
round "$place/build/to_s3"
# Linked by its interface, not by a path or a bare name.
readelf -d "$place/build/own-shared" | grep -q 'NEEDED.*libbackup\.so\.1]'
if readelf -d "$place/build/own-static" | grep -q libbackup; then
  echo "the static program needs the shared library" >&2
  exit 1
fi
