//! The commands that talk to a running daemon, as programs: their output, their exit codes, and what they ask.

mod doctor;
mod finding;
#[path = "../support/gateway_server.rs"]
mod gateway_server;
mod lists;
mod notify;
mod openclaw;
mod orders;
mod real;
mod services;
mod status;
#[path = "../support/mod.rs"]
mod support;
mod user;
