#!/usr/bin/env bash
# Everything that a change must pass, for people and for CI. Needs Rust, a C and C++ compiler, Python 3.10 or newer,
# Node.js with npm for one of the foreign clients and, for the kernel tree, a Debian system; it fetches the rest from
# crates.io, PyPI, npm and Debian itself.
#
#   check.sh            all parts in order
#   check.sh fast       format lint rust
#   check.sh PART...    only these parts
#
# Parts are the functions `part_*` below. Everything that is made goes to target/ or to a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."

. .ci/parts.sh

# Formatting of everything that a formatter knows.
part_format() {
  cargo fmt --all --check
}

# Lints of the workspace, warnings as errors, with all features and with the core's default ones.
part_lint() {
  cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
  cargo clippy -p backup-core --locked -- -D warnings
}

# Unit, integration and documentation tests.
part_rust() {
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --all-features --locked --no-fail-fast --status-level fail
  else
    cargo test --workspace --all-features --locked --lib --bins --tests --no-fail-fast
  fi
  cargo test --workspace --all-features --locked --doc
}

# The parsers over inputs that a seed makes; `rust` runs it too. `.ci/long.sh fuzz` gives it more of them.
part_fuzz() {
  cargo test --locked -p backup-core --all-features --test fuzz -- --nocapture
}

# Documentation builds without a warning: no broken link, no missing page.
part_docs() {
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked
}

# The core's tree has no runtime and no network; its default build runs where there is no system at all.
part_purity() {
  local banned='tokio|hyper|reqwest|mio|socket2|rustls|openssl|native-tls|async-std|smol'
  for features in "" "--features system,folder,object-store,testkit"; do
    # shellcheck disable=SC2086 # the words are separate arguments
    if cargo tree -p backup-core -e normal --prefix none --locked $features | grep -E "^($banned) "; then
      echo "backup-core ($features) depends on a runtime or on the network" >&2
      return 1
    fi
  done
  if rustup target list --installed 2>/dev/null | grep -qx wasm32-unknown-unknown; then
    cargo check -p backup-core --target wasm32-unknown-unknown --locked
  else
    echo "wasm32-unknown-unknown is not installed: the tree of dependencies was checked alone"
  fi
}

# The main job of README.md, and a folder through the same program. The features are those of the part `foreign`, so that it builds little more.
part_examples() {
  local place
  place=$(mktemp -d)
  cargo run --release --locked -p backup-graph --features sim-tls --example protect -- --repository "$place/tenant"
  BACKUP_PASSPHRASE=example cargo run --release --locked -p backup-graph --features sim-tls --example protect -- \
    --folder docs --restore-to "$place/docs" --repository "$place/folder"
  diff -r docs "$place/docs"
  rm -rf "$place"
}

# The Python package: built as a user would install it, its tests, its types; with the simulated tenant. Its example backs that up to
# Azurite, and a bucket of SeaweedFS keeps what it has locked.
part_python() {
  python_package python
  python_tests python -n 3
  servers "$cache/python/bin/python" -m pytest -q backup-py/tests/test_examples.py backup-py/tests/test_servers.py -k "azure or locked"
}

# The independent reader against golden vectors, and against a repository that the engine has just made.
part_reader() {
  venv reader docs/requirements-reader.txt
  local place
  place=$(mktemp -d)
  cp -a backup-core/src "$place/tree"
  ln -s lib.rs "$place/tree/link"
  : >"$place/tree/empty"
  head -c 5000000 /dev/urandom >"$place/tree/large"
  local run=(cargo run --release --locked -p backup-core --features folder,fs,s3 --example folder --)
  export BACKUP_PASSPHRASE=reader
  "${run[@]}" init "$place/repository"
  "${run[@]}" backup "$place/repository" "$place/tree"
  BACKUP_READER_REPO=$place/repository BACKUP_READER_TREE=$place/tree \
    "$cache/reader/bin/python" -m pytest -q docs/test_reader.py
  rm -rf "$place"
}

# Clients that others wrote - rclone, Microsoft's Python SDK and its JavaScript client - against the simulated tenant: what
# they find wrong with it is wrong. A drive that the engine restored is compared by rclone.
part_foreign() {
  local here=backup-graph/tests/foreign node=$cache/javascript
  venv foreign "$here/requirements.txt"
  if ! command -v npm >/dev/null; then
    # The tests say so; on CI they fail then.
    echo "npm is missing: the JavaScript client is not tried"
  else
    packages javascript "$here/package.json"
  fi
  simulated_tenant
  BACKUP_SIMULATED_TENANT=$target/release/simulated-tenant BACKUP_COPY_DRIVE=$target/release/examples/copy_drive \
    NODE_PATH=$node/node_modules "$cache/foreign/bin/python" -m pytest -q "$here"
}

# Object stores that others wrote - SeaweedFS for S3, Azurite for Azure Blob - keep every promise and hold a whole life of a
# repository; eight processes that write to one on SeaweedFS are killed at random; its bucket with Object Lock keeps what is locked; the
# example of C++ puts a folder there.
# A server that does not start is a failure.
part_servers() {
  servers cargo test --workspace --all-features --locked --test servers --test killed --test seams --test own -- --nocapture --include-ignored server
}

# The library as users of C and C++ get it: programs under valgrind and the sanitizers, and examples that are built from an installed
# prefix alone, by pkg-config and by CMake. The features are those of the part `rust`, so that nothing is built twice.
part_ffi() {
  tools cmake pkg-config valgrind
  cargo test --workspace --all-features --locked --test abi --test header
  if ! command -v cmake >/dev/null || ! command -v pkg-config >/dev/null; then
    echo "cmake or pkg-config is missing: nothing was installed"
    # On CI the installation is part of the promise.
    [ -z "${CI:-}" ]
    return
  fi
  local place
  place=$(mktemp -d)
  cmake -S backup-ffi -B "$place/build" -DCMAKE_INSTALL_PREFIX="$place/prefix" -DBACKUP_LIBRARY_DIR="$target/debug/deps" >/dev/null
  cmake --install "$place/build" >/dev/null
  .ci/installed.sh "$place/prefix"
  rm -rf "$place"
}

# What a fixed small backup costs, in instructions, is what benches/counts.json says, within 3 %.
part_counts() {
  tools valgrind
  if ! command -v valgrind >/dev/null; then
    echo "valgrind is missing: instructions were not counted"
    # On CI the counts are part of the promise.
    [ -z "${CI:-}" ]
    return
  fi
  "${PYTHON:-python3}" benches/counts.py
}

# The benchmark runs to its end; what it measures on so little means nothing.
part_bench() {
  "${PYTHON:-python3}" benches/compare.py --smoke
}

# Two versions of the kernel's sources (78,600 files, 1.4 GB): backed up twice each, restored, compared, every byte
# verified; no step may take more than 150 MB of memory.
part_tree() {
  local corpus=$cache/kernel
  if ! bash .ci/kernel.sh "$corpus"; then
    echo "the kernel's sources are not to be had here: the round trip was not made"
    # On CI the round trip is part of the promise.
    [ -z "${CI:-}" ]
    return
  fi
  local place
  place=$(mktemp -d)
  BACKUP_MEMORY_MAX_MB=150 cargo run --release --locked -p backup-core --features folder,fs,s3 --example roundtrip -- \
    "$place/repository" "$corpus/old" "$corpus/new"
  rm -rf "$place"
}

all=(format lint rust ffi docs purity examples reader foreign servers python counts bench tree)
if [ "$*" = fast ]; then set -- format lint rust; fi
run_parts "$@"
