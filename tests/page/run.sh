#!/bin/sh
# Runs the tests of the status page. Installs Chromium first where it is missing and apt is to be had.
set -eu
if ! command -v chromedriver >/dev/null || ! command -v chromium >/dev/null; then
    echo "installing chromium and chromium-driver" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver >/dev/null
fi
cd "$(dirname "$0")/../.."
# A browser takes much memory: not more than two at a time.
exec cargo test --package ograph-dispatcher --features page-tests --test page -- --test-threads=2 "$@"
