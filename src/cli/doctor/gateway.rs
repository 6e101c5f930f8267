//! What is checked at OpenClaw over its WebSocket: who answers there, how busy it is, and whether its channels can send.
//! Nothing is sent but questions.

use std::{sync::Arc, time::Duration};

use ograph_dispatcher_actors::{
    clock::Clock,
    http::HttpOptions,
    openclaw::{GatewayError, GatewayErrorKind},
};
use serde_json::{Value, json};

use super::{Finding, openclaw::INSTALL};
use crate::{
    assemble,
    cli::human,
    config::{Gateway, GatewayAction, Oc, OpenClaw},
};

/// The time for a question of a receiver's.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings that lead to a gateway, as remedies name them: its URL, and its token.
type Settings = (&'static str, &'static str);
const OC_GATEWAY: Settings = ("oc.gateway.url", "oc.gateway.token (OPENCLAW_GATEWAY_TOKEN)");
/// Those of a receiver.
const OWN: Settings = ("its url", "its token");

/// How gateways are reached.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) http: Arc<HttpOptions>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Line {
    /// What the gateway answers, and its version.
    async fn ask(&self, gateway: &Gateway, method: &str, patience: Duration) -> Result<(Value, String), GatewayError> {
        let connection = assemble::connect(gateway, &self.http, &self.clock);
        let answer = connection.call(method, json!({}), patience).await?;
        Ok((answer, connection.version().unwrap_or_else(|| "of unknown version".to_owned())))
    }
}

/// `oc.gateway`: the handshake, its version, and its lanes.
pub(super) async fn gateway(gateway: &Gateway, oc: &Oc, line: &Line) -> Finding {
    const NAME: &str = "gateway";
    let url = &gateway.url;
    match line.ask(gateway, "diagnostics.lanes", oc.timeout).await {
        Ok((answer, version)) => match lanes(&answer) {
            Some(lanes) => Finding::ok(NAME, format!("{url} is OpenClaw {version}; {lanes}")),
            None => Finding::fail(NAME, format!("{url} is OpenClaw {version}, but tells no lanes"))
                .remedy(format!("update OpenClaw, or install the plugin: {INSTALL}")),
        },
        Err(error) => Finding::fail(NAME, error.message.clone()).remedy(remedy(&error, OC_GATEWAY)),
    }
}

/// How busy the lane of the agents is, and how many others there are; `None` without lanes.
fn lanes(answer: &Value) -> Option<String> {
    let lanes = answer["lanes"].as_array().filter(|lanes| !lanes.is_empty())?;
    let all = human::count(lanes.len() as u64, "lane");
    let number = |lane: &Value, name: &str| lane[name].as_u64().map_or_else(|| "?".to_owned(), |n| n.to_string());
    let main = lanes.iter().find(|lane| lane["lane"] == "main").map(|lane| {
        format!(
            ", in main {} of {} taken and {} queued",
            number(lane, "activeCount"),
            number(lane, "maxConcurrent"),
            number(lane, "queuedCount")
        )
    });
    Some(format!("{all} read{}", main.unwrap_or_default()))
}

/// An `oc-gateway` receiver: whether its own token is accepted, and whether its channel can send.
pub(super) async fn receiver(name: &str, gateway: &Gateway, action: &GatewayAction, line: &Line) -> Vec<Finding> {
    let method = match action {
        GatewayAction::Agent { .. } => "diagnostics.lanes",
        GatewayAction::Send { .. } => "channels.status",
    };
    match line.ask(gateway, method, PATIENCE).await {
        Ok((answer, version)) => {
            let answers = format!("{} is OpenClaw {version} and takes the token; nothing was delivered", gateway.url);
            let channel = match action {
                GatewayAction::Agent { .. } => None,
                GatewayAction::Send { channel, .. } => {
                    Some(self::channel(format!("channel of {name}"), &answer, channel.as_deref(), None))
                }
            };
            std::iter::once(Finding::ok(name, answers)).chain(channel).collect()
        }
        Err(error) => vec![Finding::fail(name, error.message.clone()).remedy(remedy(&error, OWN))],
    }
}

/// The channel that the `openclaw` command sends through, as `oc.gateway` sees it; `None` if that cannot be reached,
/// which is said elsewhere.
pub(super) async fn command_channel(openclaw: &OpenClaw, gateway: &Gateway, line: &Line) -> Option<Finding> {
    let (answer, _) = line.ask(gateway, "channels.status", PATIENCE).await.ok()?;
    let (channel, account) = (openclaw.channel.as_deref(), openclaw.account.as_deref());
    Some(self::channel("channel of the openclaw command".to_owned(), &answer, channel, account))
}

/// Whether OpenClaw can send through a channel, by its answer to `channels.status`. What a channel says of its own
/// errors is not shown: it may name addresses with tokens in them.
fn channel(name: String, answer: &Value, wanted: Option<&str>, account: Option<&str>) -> Finding {
    let Some(channels) = answer["channels"].as_object() else {
        return Finding::warn(name, "OpenClaw does not tell its channels").remedy("see `openclaw channels status`");
    };
    let configured: Vec<&str> =
        channels.iter().filter(|(_, channel)| channel["configured"] == true).map(|(id, _)| id.as_str()).collect();
    let there = match &configured[..] {
        [] => "no channel is configured in OpenClaw".to_owned(),
        some => format!("configured in OpenClaw: {}", some.join(", ")),
    };
    let id = match (wanted, &configured[..]) {
        (Some(wanted), _) if configured.contains(&wanted) => wanted,
        (None, [only]) => only,
        (None, [_, _, ..]) => {
            return Finding::fail(name, format!("none is named, and there are several; {there}"))
                .remedy("set its channel");
        }
        (wanted, _) => {
            let what = wanted.map_or_else(String::new, |wanted| format!("{wanted:?} is not configured; "));
            return Finding::fail(name, format!("{what}{there}"))
                .remedy("set it up with `openclaw channels add`, or name another");
        }
    };
    let accounts = answer["channelAccounts"][id].as_array().map(Vec::as_slice).unwrap_or_default();
    let state = match account {
        None => &channels[id],
        Some(account) => match accounts.iter().find(|known| known["accountId"] == account) {
            Some(known) => known,
            None => {
                return Finding::fail(name, format!("{id} has no account {account:?}"))
                    .remedy("correct push.openclaw.account; `openclaw channels status` lists them");
            }
        },
    };
    let trouble = if state["running"] == false {
        "is not running"
    } else if state["lastError"].is_string() {
        "reports an error"
    } else {
        return Finding::ok(name, format!("{id} is configured and runs"));
    };
    Finding::warn(name, format!("{id} is configured, but {trouble}")).remedy("see `openclaw channels status`")
}

fn remedy(error: &GatewayError, (url, token): Settings) -> String {
    match error.kind {
        GatewayErrorKind::Unauthorized => format!("set {token} to gateway.auth.token of openclaw.json"),
        GatewayErrorKind::ProtocolMismatch => "update OpenClaw or this program, whichever is older".to_owned(),
        GatewayErrorKind::Starting => "try again in a minute; OpenClaw is starting".to_owned(),
        GatewayErrorKind::Down => format!("start OpenClaw (`openclaw gateway run`), or correct {url}"),
        GatewayErrorKind::Closed | GatewayErrorKind::Timeout => {
            "try again; OpenClaw may be busy or just starting".to_owned()
        }
        GatewayErrorKind::Garbage => format!("correct {url}: something else than OpenClaw's gateway answers there"),
        GatewayErrorKind::Refused(_) => format!("update OpenClaw, or install the plugin: {INSTALL}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    fn status(channels: &Value, accounts: &Value) -> Value {
        json!({"channels": channels, "channelAccounts": accounts})
    }

    #[track_caller]
    fn assert_found(answer: &Value, wanted: Option<&str>, account: Option<&str>, level: Level, words: &str) {
        let finding = channel("channel".to_owned(), answer, wanted, account);
        assert_eq!((finding.level, finding.message.as_str()), (level, words), "{answer}");
        assert_eq!(finding.remedy.is_none(), level == Level::Ok, "{finding:?}");
    }

    #[test]
    fn a_channel_is_found_as_openclaw_itself_would_choose_it() {
        let runs = json!({"configured": true, "running": true, "lastError": null});
        let one = status(&json!({"telegram": runs, "signal": {"configured": false}}), &json!({}));
        assert_found(&one, None, None, Level::Ok, "telegram is configured and runs");
        assert_found(&one, Some("telegram"), None, Level::Ok, "telegram is configured and runs");
        let words = "\"signal\" is not configured; configured in OpenClaw: telegram";
        assert_found(&one, Some("signal"), None, Level::Fail, words);
        let two = status(&json!({"signal": runs, "telegram": runs}), &json!({}));
        let words = "none is named, and there are several; configured in OpenClaw: signal, telegram";
        assert_found(&two, None, None, Level::Fail, words);
        let none = status(&json!({}), &json!({}));
        assert_found(&none, None, None, Level::Fail, "no channel is configured in OpenClaw");
        let words = "\"telegram\" is not configured; no channel is configured in OpenClaw";
        assert_found(&none, Some("telegram"), None, Level::Fail, words);
        assert_found(&json!({"ok": true}), None, None, Level::Warn, "OpenClaw does not tell its channels");
    }

    #[test]
    fn a_channel_in_trouble_is_a_warning_that_repeats_nothing_of_its_error() {
        for (state, words) in [
            (json!({"configured": true, "running": false}), "telegram is configured, but is not running"),
            (
                json!({"configured": true, "running": true, "lastError": "https://api/bot1:hush failed"}),
                "telegram is configured, but reports an error",
            ),
        ] {
            let answer = status(&json!({"telegram": state}), &json!({}));
            assert_found(&answer, None, None, Level::Warn, words);
        }
    }

    #[test]
    fn the_account_that_is_named_is_the_one_that_is_looked_at() {
        let runs = json!({"configured": true, "running": true});
        let accounts = json!({"telegram": [
            {"accountId": "default", "running": true}, {"accountId": "work", "running": false},
        ]});
        let answer = status(&json!({"telegram": runs}), &accounts);
        assert_found(&answer, None, Some("default"), Level::Ok, "telegram is configured and runs");
        assert_found(&answer, None, Some("work"), Level::Warn, "telegram is configured, but is not running");
        assert_found(&answer, None, Some("home"), Level::Fail, "telegram has no account \"home\"");
    }

    #[test]
    fn the_lane_of_the_agents_is_shown() {
        let main = json!({"lane": "main", "activeCount": 1, "queuedCount": 2, "maxConcurrent": 4});
        let words = "2 lanes read, in main 1 of 4 taken and 2 queued";
        assert_eq!(lanes(&json!({"lanes": [main, {"lane": "cron"}]})).as_deref(), Some(words));
        assert_eq!(lanes(&json!({"lanes": [{"lane": "cron"}]})).as_deref(), Some("1 lane read"));
        assert_eq!(lanes(&json!({"lanes": []})), None);
        assert_eq!(lanes(&json!({})), None);
    }
}
