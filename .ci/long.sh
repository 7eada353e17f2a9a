#!/usr/bin/env bash
# What takes hours: the searches of the test suite to their ends, or far beyond what a change has to wait for.
#
#   long.sh            all parts in order
#   long.sh PART...    only these parts
#
# Parts are the functions `part_*` below. What each prints last is what docs/testing.md quotes.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# One test of the engine, with what it prints.
engine() {
  cargo test --locked -p backup-core --all-features --test engine -- --nocapture "$@"
}

# Orders of two writers and a prune, no two of them equal: two million.
part_orders() {
  BACKUP_ORDERS=2000000 engine orders_of_two_writers_and_a_prune
}

# Random orders of up to three writers, two prunes and a check.
part_seeds() {
  BACKUP_SEEDS=200000 engine whatever_the_order_of_writers_and_prunes
}

# Ten years of five clients.
part_months() {
  BACKUP_DAYS=3650 engine kopia_4769
}

# A hundred million operations on the index and on a map; what is compressed, opened again.
part_tables() {
  BACKUP_INDEX_OPERATIONS=100000000 BACKUP_COMPRESSIONS=20000 \
    cargo test --locked -p backup-core --all-features --lib -- --nocapture borg_4829 restic_4523
}

# A million inputs for each parser.
part_fuzz() {
  BACKUP_FUZZ=1000000 cargo test --locked -p backup-core --all-features --test fuzz -- --nocapture
}

all=(orders seeds months tables fuzz)
parts=("$@")
if [ ${#parts[@]} -eq 0 ]; then parts=("${all[@]}"); fi
for part in "${parts[@]}"; do
  if ! declare -F "part_$part" >/dev/null; then
    echo "there is no part '$part'; there are: ${all[*]}" >&2
    exit 2
  fi
done
for part in "${parts[@]}"; do
  say "$part"
  "part_$part"
done
say "all passed: ${parts[*]}"
