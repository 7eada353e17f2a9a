#!/usr/bin/env bash
# What takes too long to be run for every change: hours, and gigabytes of a disk. Needs what check.sh needs.
#
#   long.sh             all parts in order
#   long.sh PART...     only these parts
#
# Parts are the functions `part_*` below; each prints its figures, and its seed where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/parts.sh

# Eight processes that write to one repository are killed at random, 200 rounds on disk and 200 on SeaweedFS.
part_kills() {
  export BACKUP_KILL_ROUNDS=${BACKUP_KILL_ROUNDS:-200}
  servers cargo test --release -p backup-core --all-features --locked --test killed -- --nocapture --test-threads 1 eight_processes
}

# Garage, three nodes on loopback, has no exclusive creation: a repository is refused there before anything is written. It is built from
# crates.io first, which takes a quarter of an hour.
part_garage() {
  local root=$cache/garage
  venv servers backup-core/tests/servers/requirements.txt
  if [ ! -x "$root/bin/garage" ]; then
    cargo install --locked --version 2.5.0 --root "$root" --no-default-features --features bundled-libs,sqlite garage
  fi
  BACKUP_GARAGE=$root/bin/garage "$cache/servers/bin/python" .ci/servers.py --only garage \
    cargo test -p backup-core --all-features --locked --test servers -- --nocapture overwrites_is_refused
}

# Read by run_parts.
# shellcheck disable=SC2034
all=(kills garage)
run_parts "$@"
