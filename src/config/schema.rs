//! The JSON Schema of the configuration file, for editors: the decoder's keys and defaults, as types.
//!
//! Nothing is ever decoded into these types: the decoder reports every problem with its place, which no derived one
//! does. Tests hold the keys and defaults of the two together.
#![expect(dead_code, reason = "only the derived schema looks at the fields")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Value, json};

use super::defaults as d;

/// The schema as the text of a file.
#[must_use]
pub fn text() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON with text keys");
    text.push('\n');
    text
}

/// A key that may be left out, but is not `null`: then this value holds.
fn or(default: impl Serialize) -> impl FnMut(&mut Schema) {
    move |schema| {
        not_null(schema);
        schema.insert("default".to_owned(), json!(default));
    }
}

/// A key that may be left out, but is not `null`.
fn not_null(schema: &mut Schema) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(mut choices)) = members.remove("anyOf") {
        choices.retain(|choice| *choice != json!({"type": "null"}));
        match (choices.len(), choices.first()) {
            (1, Some(Value::Object(only))) => members.extend(only.clone()),
            _ => drop(members.insert("anyOf".to_owned(), Value::Array(choices))),
        }
    }
}

/// Configuration of ograph-dispatcher. Comments and trailing commas are allowed.
#[derive(JsonSchema)]
#[schemars(title = "ograph-dispatcher", rename_all = "camelCase", deny_unknown_fields)]
struct File {
    /// Where editors find this schema.
    #[schemars(rename = "$schema", transform = not_null)]
    schema: Option<Text>,
    #[schemars(transform = not_null)]
    ograph: Option<Ograph>,
    discovery: Option<Discovery>,
    #[schemars(transform = not_null)]
    oc: Option<Oc>,
    #[schemars(transform = not_null)]
    intervals: Option<Intervals>,
    #[schemars(transform = not_null)]
    watch: Option<Watch>,
    #[schemars(transform = not_null)]
    push: Option<Push>,
    /// Receivers beside the dispatch file and the openclaw command line.
    #[schemars(transform = or(json!([])))]
    agents: Option<Vec<Agent>>,
    #[schemars(transform = not_null)]
    state: Option<State>,
    #[schemars(transform = not_null)]
    control: Option<Control>,
    #[schemars(transform = not_null)]
    log: Option<Log>,
}

/// Where projections are read.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Ograph {
    /// Base URL of the OGraph API. Environment: OGRAPH_ENDPOINT.
    #[schemars(url, transform = not_null)]
    endpoint: Option<String>,
    /// Bearer token of the OGraph API. Environment: OGRAPH_TOKEN.
    #[schemars(transform = not_null)]
    token: Option<Secret>,
    /// What is watched. Environment: OGRAPH_PROJECTIONS, comma-separated.
    #[schemars(transform = or(json!([])))]
    projections: Option<Vec<Projection>>,
    /// Milliseconds for one whole request.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::OGRAPH_TIMEOUT))]
    timeout: Option<u64>,
    /// How many requests may run at once.
    #[schemars(range(min = 1, max = d::MAX_CONCURRENCY), transform = or(d::OGRAPH_CONCURRENCY))]
    concurrency: Option<u64>,
    /// Largest answer accepted, in bytes.
    #[schemars(range(min = 1, max = d::MAX_BODY_BYTES), transform = or(d::OGRAPH_MAX_BODY_BYTES))]
    max_body_bytes: Option<u64>,
    /// URL of an http:// proxy, or null for none. Left out: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY are followed.
    #[schemars(url)]
    proxy: Option<String>,
}

/// A text that is not empty.
#[derive(JsonSchema)]
#[schemars(transparent, inline)]
struct Text(#[schemars(length(min = 1))] String);

/// A token or another secret: the text itself, a file that holds it, or an environment variable.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Secret {
    Text(Text),
    File(SecretFile),
    Env(SecretEnv),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SecretFile {
    /// A file that holds the secret alone; a relative path starts from the folder of the configuration file.
    file: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct SecretEnv {
    /// The environment variable that holds the secret.
    #[schemars(regex(pattern = "^[A-Za-z0-9_]+$"))]
    env: String,
}

/// A projection: "name", "name?param=value", or an object.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Projection {
    Name(Text),
    Described(DescribedProjection),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct DescribedProjection {
    /// The projection's name in OGraph.
    name: Text,
    /// Its parameters.
    #[schemars(transform = not_null)]
    params: Option<BTreeMap<String, Param>>,
    /// The key under which its changes are told, instead of "name?param=value".
    #[schemars(rename = "as")]
    alias: Option<Text>,
    /// Where in the answer the value stands (RFC 6901); "" for the whole body.
    #[schemars(regex(pattern = POINTER))]
    value_pointer: Option<String>,
    /// Members of the value whose changes do not count (RFC 6901).
    #[schemars(transform = not_null)]
    ignore: Option<Vec<Pointer>>,
}

const POINTER: &str = "^(/([^/~]|~[01])*)*$";

#[derive(JsonSchema)]
#[schemars(transparent)]
struct Pointer(#[schemars(regex(pattern = POINTER))] String);

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Param {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// Projections found by themselves. Not active in this version.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Discovery {
    /// The agent whose tasks are followed.
    agent_id: Id,
    /// The types of event that lead to projections.
    #[schemars(transform = not_null)]
    event_types: Option<Vec<Text>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Id {
    Number(u64),
    Text(Text),
}

/// Where OpenClaw's free slots are read.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Oc {
    /// Status URL. Environment: OC_STATUS_ENDPOINT.
    #[schemars(url, transform = or(d::OC_STATUS_ENDPOINT))]
    status_endpoint: Option<String>,
    /// Bearer token of the status URL. Environment: OC_STATUS_TOKEN.
    status_token: Option<Secret>,
    /// How many free slots a push needs. Environment: OC_MIN_AVAILABLE.
    #[schemars(range(max = d::MAX_MIN_AVAILABLE), transform = or(d::OC_MIN_AVAILABLE))]
    min_available: Option<u64>,
    /// Where in the answer the free slots stand (RFC 6901), if the usual rules do not find them.
    #[schemars(regex(pattern = POINTER))]
    available_pointer: Option<String>,
    /// OpenClaw's gateway, over its WebSocket; no plugin is needed.
    gateway: Option<Gateway>,
    /// Milliseconds for one whole request.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::OC_TIMEOUT))]
    timeout: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Gateway {
    /// ws, wss, http or https. Environment: OPENCLAW_GATEWAY_URL.
    #[schemars(url, transform = not_null)]
    url: Option<String>,
    /// gateway.auth.token of OpenClaw. Environment: OPENCLAW_GATEWAY_TOKEN.
    #[schemars(transform = not_null)]
    token: Option<Secret>,
}

/// How often things are done, in milliseconds.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Intervals {
    /// Between two polls of a projection while nothing changes.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::WATCHER_IDLE))]
    watcher_idle: Option<u64>,
    /// Between two polls after a change.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::WATCHER_ACTIVE))]
    watcher_active: Option<u64>,
    /// Between two looks at the free slots while nothing is pending.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::SCHEDULER_IDLE))]
    scheduler_idle: Option<u64>,
    /// Between two looks while something is pending.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::SCHEDULER_ACTIVE))]
    scheduler_active: Option<u64>,
    /// How long nothing is pushed after a push.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::COOLDOWN_AFTER_PUSH))]
    cooldown_after_push: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Watch {
    /// Which projections poll at the active pace after a change: all of them, or the changed one alone.
    #[schemars(transform = or(d::ACTIVE_SCOPE))]
    active_scope: Option<ActiveScope>,
    /// Whether the first value ever seen is a change, or only what later ones are compared with.
    #[schemars(transform = or(d::FIRST_SEEN))]
    first_seen: Option<FirstSeen>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum ActiveScope {
    All,
    Projection,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum FirstSeen {
    Baseline,
    Change,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Push {
    /// The file that holds the latest batch; null for none. Left out: ograph-dispatch.json in /tmp, or in the system's
    /// folder for temporary files. Environment: OGRAPH_DISPATCH_FILE ("off" for none).
    dispatch_file: Option<Text>,
    /// Its permission bits, octal.
    #[schemars(regex(pattern = "^0?[0-7]{3}$"), transform = or(format!("{:04o}", d::DISPATCH_FILE_MODE)))]
    dispatch_file_mode: Option<String>,
    #[schemars(transform = not_null)]
    openclaw: Option<OpenClaw>,
}

/// The openclaw command line: best effort, one attempt a batch.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct OpenClaw {
    #[schemars(transform = or(d::OPENCLAW_ENABLED))]
    enabled: Option<bool>,
    /// A name looked for in PATH, or a path.
    #[schemars(transform = or(d::OPENCLAW_BIN))]
    bin: Option<Text>,
    /// Needed where several channels are configured.
    channel: Option<Text>,
    /// Whom to tell; without one nobody is told this way.
    target: Option<Text>,
    account: Option<Text>,
    /// The text, with {count}, {names}, {file} and {batchId}.
    message: Option<Text>,
    /// Milliseconds for one call.
    #[schemars(range(min = 1, max = d::MAX_MILLIS), transform = or(d::OPENCLAW_TIMEOUT))]
    timeout: Option<u64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct State {
    /// The folder of the store. Left out: ograph-dispatcher in the user's folder for state.
    /// Environment: OGRAPH_STATE_DIR.
    #[schemars(transform = not_null)]
    dir: Option<Text>,
}

/// The control server.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Control {
    /// host:port; port 0 for any, null for no server. Environment: OGRAPH_CONTROL_LISTEN ("off" for none).
    #[schemars(extend("default" = d::CONTROL_LISTEN))]
    listen: Option<Text>,
    /// Its bearer token; left out, one is generated and kept. Environment: OGRAPH_CONTROL_TOKEN.
    token: Option<Secret>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Log {
    /// Lines for people, or one JSON object a line. Environment: OGRAPH_LOG_FORMAT; the level is set by RUST_LOG.
    #[schemars(transform = or(d::LOG_FORMAT))]
    format: Option<LogFormat>,
    /// A file to which every event is appended as a line of JSON; null or left out for none. A reload opens it anew.
    events_file: Option<Text>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum LogFormat {
    Text,
    Json,
}

/// A receiver of dispatch documents.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "kebab-case")]
enum Agent {
    OcPlugin(OcPlugin),
    Webhook(Webhook),
    Command(Command),
    OcGateway(OcGateway),
    OcHook(OcHook),
}

/// OpenClaw with the plugin of ograph-dispatcher.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct OcPlugin {
    /// A stable name of its own; left out, type and URL.
    name: Option<Text>,
    /// Milliseconds for one attempt.
    #[schemars(range(min = 1, max = d::MAX_MILLIS))]
    timeout: Option<u64>,
    #[schemars(url)]
    url: String,
    /// Bearer token.
    secret: Secret,
    /// Sent along with the document.
    actor: Id,
}

/// Any HTTP server; the document is signed as Standard Webhooks say.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Webhook {
    /// A stable name of its own; left out, type and URL.
    name: Option<Text>,
    /// Milliseconds for one attempt.
    #[schemars(range(min = 1, max = d::MAX_MILLIS))]
    timeout: Option<u64>,
    #[schemars(url)]
    url: String,
    /// "whsec_" and the key in base64; left out, nothing is signed.
    secret: Option<Secret>,
}

/// A program that reads the document from its standard input; exit code 0 is delivered.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Command {
    /// A stable name of its own; left out, type and program.
    name: Option<Text>,
    /// Milliseconds for one run.
    #[schemars(range(min = 1, max = d::MAX_MILLIS))]
    timeout: Option<u64>,
    /// The program and its arguments; no shell is involved.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
}

/// OpenClaw's gateway, over its WebSocket; no plugin is needed.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct OcGateway {
    /// A stable name of its own; left out, type and URL.
    name: Option<Text>,
    /// Milliseconds for one attempt.
    #[schemars(range(min = 1, max = d::MAX_MILLIS))]
    timeout: Option<u64>,
    #[schemars(url)]
    url: String,
    /// gateway.auth.token of OpenClaw.
    token: Secret,
    mode: GatewayMode,
    /// The text, from a template.
    message: Option<Text>,
    /// Mode "agent": in which session.
    session_key: Option<Text>,
    /// Mode "agent": whether the end of the turn is waited for, within the timeout, and noted.
    wait: Option<bool>,
    /// Mode "send": through which channel.
    channel: Option<Text>,
    /// Mode "send": to whom.
    to: Option<Text>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum GatewayMode {
    Agent,
    Send,
}

/// OpenClaw's HTTP hooks.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct OcHook {
    /// A stable name of its own; left out, type and URL.
    name: Option<Text>,
    /// Milliseconds for one attempt.
    #[schemars(range(min = 1, max = d::MAX_MILLIS))]
    timeout: Option<u64>,
    /// Base URL of OpenClaw.
    #[schemars(url)]
    url: String,
    /// hooks.token of OpenClaw.
    token: Secret,
    mode: HookMode,
    /// Which agent.
    agent_id: Option<Text>,
    /// The text, from a template.
    message: Option<Text>,
    /// Mode "agent": in which session.
    session_key: Option<Text>,
    /// Mode "agent": whether the agent's answer is sent on.
    deliver: Option<bool>,
    /// Mode "agent": through which channel the answer is sent.
    channel: Option<Text>,
    /// Mode "agent": to whom the answer is sent.
    to: Option<Text>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
enum HookMode {
    Agent,
    Wake,
}
