//! What `init` learns from OpenClaw's own configuration: where its gateway is, and where its token is kept.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{OpenClawFile, parse};
use crate::config::Environment;

/// The port that OpenClaw takes without a setting.
const PORT: u64 = 18789;
/// The variable that OpenClaw itself takes the token from.
const TOKEN: &str = "OPENCLAW_GATEWAY_TOKEN";

/// An OpenClaw on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Found {
    /// Its `openclaw.json`.
    pub(in crate::cli) path: PathBuf,
    /// Its gateway, or why that cannot be configured.
    pub(in crate::cli) gateway: Result<FoundGateway, String>,
}

/// A gateway that can be asked from this machine.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct FoundGateway {
    pub(in crate::cli) url: String,
    /// The variable that holds the token, or is to.
    pub(in crate::cli) variable: String,
    /// The token itself, if the file holds it.
    pub(in crate::cli) literal: Option<Literal>,
}

/// A secret that was found.
#[derive(PartialEq, Eq)]
pub(in crate::cli) struct Literal(pub(in crate::cli) String);

impl std::fmt::Debug for Literal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[hidden]")
    }
}

impl Found {
    /// Looks where OpenClaw does; `None` if there is none.
    pub(in crate::cli) fn look(environment: &Environment) -> Option<Self> {
        let path = OpenClawFile::place(environment)?;
        let gateway = match OpenClawFile::read(environment) {
            Ok(file) => parse(&file?.text).and_then(|openclaw| gateway(&openclaw)),
            Err(error) => Err(error),
        };
        Some(Self { path, gateway })
    }
}

impl FoundGateway {
    /// `oc.gateway`, with the token itself only if that is wanted.
    pub(in crate::cli) fn setting(&self, with_secret: bool) -> Value {
        let token = match &self.literal {
            Some(Literal(token)) if with_secret => json!(token),
            _ => json!({"env": self.variable}),
        };
        json!({"url": self.url, "token": token})
    }
}

fn gateway(openclaw: &Value) -> Result<FoundGateway, String> {
    let gateway = &openclaw["gateway"];
    if [openclaw, gateway, &gateway["auth"]].iter().any(|part| part.get("$include").is_some()) {
        return Err("parts of it are in other files ($include), which are not read".to_owned());
    }
    if gateway["mode"] == "remote" {
        return Err("its gateway runs on another machine".to_owned());
    }
    if let Some(bind @ ("tailnet" | "custom")) = gateway["bind"].as_str() {
        return Err(format!("its gateway does not listen on this machine's loopback address (gateway.bind is {bind})"));
    }
    let auth = &gateway["auth"];
    if let Some(mode) = auth["mode"].as_str().filter(|mode| *mode != "token") {
        return Err(format!("its gateway takes no token (gateway.auth.mode is {mode:?})"));
    }
    let port = match &gateway["port"] {
        Value::Null => PORT,
        port => port.as_u64().filter(|port| (1..=65_535).contains(port)).ok_or("gateway.port is no port")?,
    };
    let scheme = if gateway["tls"]["enabled"] == true { "wss" } else { "ws" };
    let (variable, literal) = token(&auth["token"])?;
    Ok(FoundGateway { url: format!("{scheme}://127.0.0.1:{port}"), variable, literal })
}

/// A token is a text, `${VARIABLE}`, or a reference to one of OpenClaw's places for secrets.
fn token(token: &Value) -> Result<(String, Option<Literal>), String> {
    match token {
        Value::Null => Ok((TOKEN.to_owned(), None)),
        Value::String(text) => match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(variable) if is_variable(variable) => Ok((variable.to_owned(), None)),
            _ => Ok((TOKEN.to_owned(), Some(Literal(text.clone())))),
        },
        reference => match (reference["source"].as_str(), reference["id"].as_str()) {
            (Some("env"), Some(variable)) if is_variable(variable) => Ok((variable.to_owned(), None)),
            (Some(_), Some(_)) => Ok((TOKEN.to_owned(), None)),
            _ => Err("gateway.auth.token is not understood".to_owned()),
        },
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Result<FoundGateway, String> {
        parse(text).and_then(|openclaw| gateway(&openclaw))
    }

    #[test]
    fn the_gateways_address_and_the_place_of_its_token_are_read() {
        let plain = "ws://127.0.0.1:18789";
        for (text, url, variable, literal) in [
            ("{}", plain, TOKEN, None),
            ("{gateway: {port: 19001, bind: 'loopback', mode: 'local'}}", "ws://127.0.0.1:19001", TOKEN, None),
            ("{gateway: {tls: {enabled: true}, bind: 'lan'}}", "wss://127.0.0.1:18789", TOKEN, None),
            ("{gateway: {auth: {mode: 'token', token: 'hush'}}} // x", plain, TOKEN, Some("hush")),
            ("{gateway: {auth: {token: '${MY_TOKEN}'}}}", plain, "MY_TOKEN", None),
            ("{gateway: {auth: {token: {source: 'env', provider: 'default', id: 'T'}}}}", plain, "T", None),
            ("{gateway: {auth: {token: {source: 'file', provider: 'x', id: '/t'}}}}", plain, TOKEN, None),
        ] {
            let literal = literal.map(|text| Literal(text.to_owned()));
            let expected = FoundGateway { url: url.to_owned(), variable: variable.to_owned(), literal };
            assert_eq!(found(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_configured_is_said() {
        for (text, words) in [
            ("{gateway: {mode: 'remote'}}", "another machine"),
            ("{$include: './all.json5'}", "$include"),
            ("{gateway: {'$include': './gateway.json5'}}", "$include"),
            ("{gateway: {bind: 'tailnet'}}", "gateway.bind is tailnet"),
            ("{gateway: {auth: {mode: 'password'}}}", "takes no token"),
            ("{gateway: {port: 'x'}}", "gateway.port"),
            ("{gateway: {port: 65536}}", "gateway.port"),
            ("{gateway: {auth: {token: ['hush']}}}", "gateway.auth.token"),
            ("{gateway: {auth: {token: 'hush}}}", "cannot be read"),
        ] {
            let error = found(text).expect_err(text);
            assert!(error.contains(words) && !error.contains("hush"), "{text}: {error}");
        }
    }

    #[test]
    fn the_secret_is_taken_only_where_that_is_wanted_and_never_shown() {
        let gateway = found("{gateway: {auth: {token: 'hush'}}}").unwrap();
        assert_eq!(gateway.setting(false)["token"], json!({"env": TOKEN}));
        assert_eq!(gateway.setting(true)["token"], "hush");
        assert!(!format!("{gateway:?}").contains("hush"));
    }
}
