//! `agents`: receivers beside the dispatch file and the `openclaw` command line.

use std::{collections::BTreeMap, time::Duration};

use jsonc_parser::ast;
use ograph_dispatcher_actors::model::receiver::ReceiverId;
use serde_json::json;

use super::gateway;
use crate::config::{
    Agent, AgentKind, GatewayAction, HookAction, Origin, Place, defaults,
    kinds::{self, Choice, Input, Read, nullable},
    reader::{Key, Node, Object, Reader, nearest},
    show::Show,
};

/// The ids of the receivers that are not in the list.
const TAKEN: [&str; 2] = ["dispatch-file", "openclaw"];

/// Reads what a kind of receiver has of its own.
type ReadKind = fn(&Reader<'_>, &mut Object<'_>) -> Option<AgentKind>;

/// Every kind of receiver, by its word.
const TYPES: [(&str, ReadKind); 5] = [
    ("oc-plugin", oc_plugin),
    ("webhook", webhook),
    ("command", command),
    ("oc-gateway", oc_gateway),
    ("oc-hook", oc_hook),
];

pub(super) fn agents(reader: &Reader<'_>, list: Option<Node<'_>>) -> Vec<Agent> {
    let Some(list) = list else {
        reader.record("agents", json!([]), Origin::Default);
        return Vec::new();
    };
    let mut ids: BTreeMap<ReceiverId, Place> = BTreeMap::new();
    let mut agents = Vec::new();
    for node in list.elements(reader).unwrap_or_default() {
        let place = reader.place(node.value);
        let path = node.path.clone();
        let Some(agent) = agent(reader, node.object(reader)) else { continue };
        if let Some(first) = ids.insert(agent.id.clone(), place.clone()) {
            let line = match first {
                Place::At { line, .. } => format!("line {line}"),
                _ => "before".to_owned(),
            };
            let message = format!("is called \"{}\" like the one on {line}; give it a \"name\" of its own", agent.id);
            reader.error(place, &path, message);
        }
        agents.push(agent);
    }
    let ids: Vec<_> = agents.iter().map(|agent| agent.id.as_str()).collect();
    reader.record("agents", json!(ids), Origin::Set(reader.place(list.value)));
    agents
}

fn agent(reader: &Reader<'_>, mut object: Object<'_>) -> Option<Agent> {
    let name = optional(&mut object, "name", kinds::line);
    if let Some(name) = name.as_deref().filter(|name| TAKEN.contains(name)) {
        let message = format!("\"{name}\" is the name of a built-in receiver");
        reader.error(object.place_of("name"), &object.path("name"), message);
    }
    let timeout = optional(&mut object, "timeout", kinds::millis);
    let kind = kind(reader, &mut object)?;
    let id = name.unwrap_or_else(|| format!("{}:{}", kind.label(), kind.destination()));
    let default = match kind {
        AgentKind::Command { .. } => defaults::COMMAND_TIMEOUT,
        AgentKind::OcHook { .. } => defaults::HOOK_TIMEOUT,
        _ => defaults::AGENT_TIMEOUT,
    };
    Some(Agent { id: ReceiverId::new(id), timeout: timeout.unwrap_or(Duration::from_millis(default)), kind })
}

/// A setting that may be left out.
fn optional<T: Show>(object: &mut Object<'_>, name: &'static str, kind: fn(&Input<'_>) -> Read<T>) -> Option<T> {
    object.get(name, nullable(kind)).and_then(|(value, _)| value)
}

fn kind(reader: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let Some(node) = object.node("type") else {
        object.missing("type", &format!("; it is one of {}", types()));
        object.abandon();
        return None;
    };
    let read = match node.value {
        ast::Value::StringLit(word) => TYPES.iter().find(|(name, _)| *name == word.value).map(|(_, read)| *read),
        _ => None,
    };
    if let (Some(read), ast::Value::StringLit(word)) = (read, node.value) {
        reader.record(&node.path, json!(word.value), Origin::Set(reader.place(node.value)));
        return read(reader, object);
    }
    // Which keys are known depends on the type.
    object.abandon();
    let near = match node.value {
        ast::Value::StringLit(word) => nearest(&word.value, &TYPES.map(|(name, _)| name)),
        _ => None,
    };
    let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    reader.error(reader.place(node.value), &node.path, format!("must be one of {}{near}", types()));
    None
}

fn types() -> String {
    TYPES.map(|(name, _)| format!("\"{name}\"")).join(", ")
}

fn oc_plugin(_: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let url = object.required("url", kinds::http_url);
    object.is_secret("secret");
    let secret = object.required("secret", kinds::secret);
    let actor = object.required("actor", kinds::id);
    Some(AgentKind::OcPlugin { url: url?, secret: secret?, actor: actor? })
}

fn webhook(_: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let url = object.required("url", kinds::http_url);
    object.is_secret("secret");
    let secret = optional(object, "secret", kinds::webhook_secret);
    Some(AgentKind::Webhook { url: url?, secret })
}

fn command(reader: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let path = object.path("argv");
    let Some(argv) = object.node("argv") else {
        object.missing("argv", "; it lists the program and its arguments");
        return None;
    };
    let elements = argv.elements(reader)?;
    let Some((program, arguments)) = elements.split_first() else {
        reader.error(reader.place(argv.value), &path, "must name a program");
        return None;
    };
    let program = program.read(reader, kinds::program);
    if let Some(program) = &program {
        // The arguments may be secret.
        let shown = format!("{} and {} arguments", program.display(), arguments.len());
        reader.record(&path, json!(shown), Origin::Set(reader.place(argv.value)));
    }
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.read(reader, kinds::argument)).collect();
    Some(AgentKind::Command { program: program?, arguments: arguments.into_iter().collect::<Option<_>>()? })
}

fn oc_gateway(_: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let gateway = gateway(object, Key::new("url"), Key::new("token"));
    let message = optional(object, "message", kinds::text);
    let mode = object.required("mode", kinds::choice::<GatewayMode>);
    let session_key = optional(object, "sessionKey", kinds::line);
    let channel = optional(object, "channel", kinds::line);
    let to = optional(object, "to", kinds::line);
    let wait = optional(object, "wait", kinds::boolean);
    let action = match mode? {
        GatewayMode::Agent => GatewayAction::Agent { session_key, wait: wait.unwrap_or(false) },
        GatewayMode::Send => {
            if to.is_none() {
                object.missing("to", "; mode \"send\" needs it");
            }
            GatewayAction::Send { channel, to: to? }
        }
    };
    Some(AgentKind::OcGateway { gateway: gateway?, action, message })
}

fn oc_hook(_: &Reader<'_>, object: &mut Object<'_>) -> Option<AgentKind> {
    let url = object.required("url", kinds::base_url);
    object.is_secret("token");
    let token = object.required("token", kinds::secret);
    let message = optional(object, "message", kinds::text);
    let agent_id = optional(object, "agentId", kinds::line);
    let mode = object.required("mode", kinds::choice::<HookMode>);
    let session_key = optional(object, "sessionKey", kinds::line);
    let deliver = optional(object, "deliver", kinds::boolean);
    let channel = optional(object, "channel", kinds::line);
    let to = optional(object, "to", kinds::line);
    if channel.is_some() && to.is_none() {
        object.missing("to", "; \"channel\" needs it");
    }
    let action = match mode? {
        HookMode::Agent => HookAction::Agent { session_key, deliver, channel, to },
        HookMode::Wake => HookAction::Wake,
    };
    Some(AgentKind::OcHook { url: url?, token: token?, action, agent_id, message })
}

#[derive(Clone, Copy, PartialEq)]
enum GatewayMode {
    Agent,
    Send,
}

impl Choice for GatewayMode {
    const ALL: &'static [(&'static str, Self)] = &[("agent", Self::Agent), ("send", Self::Send)];
}

#[derive(Clone, Copy, PartialEq)]
enum HookMode {
    Agent,
    Wake,
}

impl Choice for HookMode {
    const ALL: &'static [(&'static str, Self)] = &[("agent", Self::Agent), ("wake", Self::Wake)];
}
