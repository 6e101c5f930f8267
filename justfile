# Shortcuts; `just` lists them. Every one is a plain cargo command that works without just.

_default:
    @just --list --unsorted

# Compile everything, without producing programs
check:
    cargo check --workspace --all-targets --all-features --locked

# Run every test
test *ARGS:
    cargo test --workspace {{ ARGS }}

# Format check and lints, as CI wants them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# Format everything
fmt:
    cargo fmt --all

# Build the documentation; broken links are errors
doc *ARGS:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked {{ ARGS }}

# Watch the whole job on this machine alone
sandbox *ARGS:
    cargo run --release -- sandbox {{ ARGS }}

# Write the JSON Schema of the configuration anew
schema:
    cargo build --locked
    target/debug/ograph-dispatcher schema >config/dispatcher.schema.json

# Licences, bans, advisories (needs cargo-deny)
deny:
    cargo deny --all-features check

# All that CI does
ci:
    .ci/run

# The status page in a real Chromium; installs what is missing
page:
    tests/page/run.sh

# Against the real OpenClaw; installs Node and OpenClaw from npm into the build folder
e2e-openclaw:
    tests/openclaw/run.sh

# Kill it at random moments, a thousand times by default; a failing seed is printed
crash KILLS="1000":
    CRASH_KILLS={{ KILLS }} cargo test --test crash nothing_is -- --nocapture

# Run it at a high pace under faults for so many seconds
soak SECONDS="1200":
    SOAK_SECONDS={{ SECONDS }} cargo test --test crash long_life -- --nocapture
