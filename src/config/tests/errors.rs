//! Every problem names its place and what to do.

use super::*;

#[test]
fn what_is_wrong_with_a_section_is_said_with_line_column_and_path() {
    for (members, expected) in [
        (r#""intervals": §[30000]"#, &["intervals: must be an object, not an array"][..]),
        (r#""oc": §null"#, &["oc: must be an object, not null"]),
        (
            "\"oc\": {\n\"statusEndpoint\": §\"localhost:18789\"}",
            &["oc.statusEndpoint: must be a URL that starts with http:// or https://"],
        ),
        (r#""oc": {"statusEndpoint": §18789}"#, &["oc.statusEndpoint: must be a URL, not a number"]),
        (r#""oc": {"statusToken": §""}"#, &["oc.statusToken: must not be empty"]),
        (r#""oc": {"minAvailable": §"2"}"#, &[r#"oc.minAvailable: must be a whole number from 0 to 1000000, not "2""#]),
        (
            r#""oc": {"availablePointer": §"slots/free"}"#,
            &["oc.availablePointer: not a JSON pointer (RFC 6901): it must be empty or start with '/'"],
        ),
        (
            r#""oc": {"availablePointer": §5}"#,
            &[r#"oc.availablePointer: must be a JSON pointer like "/slots/free", not a number"#],
        ),
        (
            r#""oc": {"gateway": {"url": §"ftp://x", "token": "t"}}"#,
            &["oc.gateway.url: must be a URL that starts with ws://, wss://, http:// or https://"],
        ),
        (
            r#""oc": {"gateway": §§{}}"#,
            &[
                "oc.gateway.url: is missing; set it in the file or as OPENCLAW_GATEWAY_URL",
                "oc.gateway.token: is missing; set it in the file or as OPENCLAW_GATEWAY_TOKEN",
            ],
        ),
        (r#""watch": {"activeScope": §"ALL"}"#, &[r#"watch.activeScope: must be "all" or "projection", not "ALL""#]),
        (r#""watch": {"firstSeen": §true}"#, &[r#"watch.firstSeen: must be "baseline" or "change", not true"#]),
        (r#""push": {"dispatchFile": §5}"#, &["push.dispatchFile: must be a string, not a number"]),
        (
            r#""push": {"dispatchFileMode": §600}"#,
            &[r#"push.dispatchFileMode: must be octal permission bits as a string, like "0600", not 600"#],
        ),
        (
            r#""push": {"dispatchFileMode": §"0800"}"#,
            &[r#"push.dispatchFileMode: must be octal permission bits as a string, like "0600", not "0800""#],
        ),
        (
            r#""push": {"dispatchFileMode": §"1777"}"#,
            &[r#"push.dispatchFileMode: must be octal permission bits as a string, like "0600", not "1777""#],
        ),
        (
            r#""push": {"openclaw": {"enabled": §1, "bin": §5}}"#,
            &[
                "push.openclaw.enabled: must be true or false, not 1",
                "push.openclaw.bin: must be a string, not a number",
            ],
        ),
        (
            r#""push": {"openclaw": {"target": §"a\nb"}}"#,
            &["push.openclaw.target: must not contain control characters"],
        ),
        (
            r#""discovery": {"agentId": §1.5, "eventTypes": [§3]}"#,
            &[
                "discovery.agentId: must be a string or a whole number, not 1.5",
                "discovery.eventTypes[0]: must be a string, not a number",
            ],
        ),
        (r#""discovery": §{}"#, &["discovery.agentId: is missing"]),
        (r#""state": {"dir": §[]}"#, &["state.dir: must be a string, not an array"]),
        (
            r#""control": {"listen": §18791}"#,
            &[r#"control.listen: must be an address like "127.0.0.1:18791", or null for none, not a number"#],
        ),
        (
            r#""control": {"listen": §":18791"}"#,
            &[r#"control.listen: must be an address like "127.0.0.1:18791", or null for none, not ":18791""#],
        ),
        (
            r#""control": {"listen": §"localhost:65536"}"#,
            &[r#"control.listen: must be an address like "127.0.0.1:18791", or null for none, not "localhost:65536""#],
        ),
        (
            r#""control": {"listen": §"0.0.0.0:18791"}"#,
            &[
                "control.listen: 0.0.0.0:18791 is open to other machines, so it needs a `control.token` (OGRAPH_CONTROL_TOKEN)",
            ],
        ),
        (
            r#""control": {"listen": §"[::]:0"}"#,
            &["control.listen: [::]:0 is open to other machines, so it needs a `control.token` (OGRAPH_CONTROL_TOKEN)"],
        ),
        (r#""log": {"format": §"yaml"}"#, &[r#"log.format: must be "text" or "json", not "yaml""#]),
        (
            "\"log\": §5,\n§\"log\": {}",
            &["log: must be an object, not a number", "log: given twice; the first one is on line 3"],
        ),
        (r#""$schema": §5"#, &["$schema: must be a string, not a number"]),
    ] {
        assert_problems("error", &file(members), expected);
    }
}

#[test]
fn an_interval_is_a_positive_number_of_milliseconds_of_a_day_at_most() {
    for (value, shown) in [
        (r#""30s""#, r#""30s""#),
        (r#""30000""#, r#""30000""#),
        ("0", "0"),
        ("-5000", "-5000"),
        ("1.5", "1.5"),
        ("1e3", "1e3"),
        ("86400001", "86400001"),
        ("99999999999999999999999999999999999999999", "9999999999999999999999999999999999999999…"),
        ("null", "null"),
        ("[1]", "an array"),
    ] {
        for interval in ["watcherIdle", "watcherActive", "schedulerIdle", "schedulerActive", "cooldownAfterPush"] {
            let message =
                format!("intervals.{interval}: must be a whole number of milliseconds from 1 to 86400000, not {shown}");
            let text = file(&format!("\"intervals\": {{\n  \"{interval}\": §{value}}}"));
            assert_problems("error", &text, &[&message]);
        }
    }
}

#[test]
fn what_is_wrong_with_a_receiver_is_said() {
    for (agents, expected) in [
        ("§{}", &["agents: must be an array, not an object"][..]),
        ("[§5]", &["agents[0]: must be an object, not a number"]),
        (
            r#"[§{"url": 5, "odd": 1}]"#,
            &[r#"agents[0].type: is missing; it is one of "oc-plugin", "webhook", "command", "oc-gateway", "oc-hook""#],
        ),
        (
            r#"[{"type": §"web-hook", "url": 5}]"#,
            &[
                r#"agents[0].type: must be one of "oc-plugin", "webhook", "command", "oc-gateway", "oc-hook"; did you mean "webhook"?"#,
            ],
        ),
        (
            r#"[{"type": §null}]"#,
            &[r#"agents[0].type: must be one of "oc-plugin", "webhook", "command", "oc-gateway", "oc-hook""#],
        ),
        (
            r#"[§§§{"type": "oc-plugin"}]"#,
            &["agents[0].url: is missing", "agents[0].secret: is missing", "agents[0].actor: is missing"],
        ),
        (
            r#"[{"type": "webhook", "url": §"https://ann:b@x/"}]"#,
            &["agents[0].url: must not contain a user name or password; credentials have keys of their own"],
        ),
        (
            r#"[{"type": "webhook", "url": "https://x/", "secret": §"whsec_?"}]"#,
            &[r#"agents[0].secret: must be "whsec_" followed by the key in base64"#],
        ),
        (
            r#"[{"type": "webhook", "url": "https://x/", "timeout": §0}]"#,
            &["agents[0].timeout: must be a whole number of milliseconds from 1 to 86400000, not 0"],
        ),
        (
            "[{\"type\": \"webhook\", \"url\": \"https://x/?a\"},\n§{\"type\": \"webhook\", \"url\": \"https://x/?b\"}]",
            &[r#"agents[1]: is called "webhook:https://x/" like the one on line 3; give it a "name" of its own"#],
        ),
        (
            r#"[{"type": "command", "argv": ["a"], "name": §"dispatch-file"}]"#,
            &[r#"agents[0].name: "dispatch-file" is the name of a built-in receiver"#],
        ),
        (r#"[§{"type": "command"}]"#, &["agents[0].argv: is missing; it lists the program and its arguments"]),
        (r#"[{"type": "command", "argv": §"ls -l"}]"#, &["agents[0].argv: must be an array, not a string"]),
        (r#"[{"type": "command", "argv": §[]}]"#, &["agents[0].argv: must name a program"]),
        (
            r#"[{"type": "command", "argv": [§"", §5, §"a\u0000"]}]"#,
            &[
                "agents[0].argv[0]: must not be empty",
                "agents[0].argv[1]: must be a string, not a number",
                r"agents[0].argv[2]: must not contain \0",
            ],
        ),
        (
            r#"[§{"type": "oc-gateway", "url": "ws://x", "token": "t", "mode": "send"}]"#,
            &[r#"agents[0].to: is missing; mode "send" needs it"#],
        ),
        (
            r#"[§{"type": "oc-hook", "url": "http://x", "token": "t", "mode": "agent", "channel": "c"}]"#,
            &[r#"agents[0].to: is missing; "channel" needs it"#],
        ),
        (
            r#"[{"type": "oc-hook", "url": "http://x", "token": "t", "mode": §"send"}]"#,
            &[r#"agents[0].mode: must be "agent" or "wake", not "send""#],
        ),
    ] {
        assert_problems("error", &file(&format!("\"agents\": {agents}")), expected);
    }
}

#[test]
fn what_is_wrong_with_a_projection_is_said() {
    for (projections, expected) in [
        (r#"§"p""#, &["ograph.projections: must be an array, not a string"][..]),
        ("[§5]", &["ograph.projections[0]: must be a string or an object, not a number"]),
        (r#"[§"?a=1"]"#, &["ograph.projections[0]: the projection's name is empty"]),
        (
            "[\"p?b=2&a=1\",\n§\"p?a=1&b=2\"]",
            &[r#"ograph.projections[1]: "p?a=1&b=2" is already watched on line 2; "as" gives it a key of its own"#],
        ),
        ("[§{}]", &["ograph.projections[0].name: is missing"]),
        (
            r#"[{"name": §"p?a=1"}]"#,
            &[r#"ograph.projections[0].name: must be a name alone; its parameters belong into "params""#],
        ),
        (
            r#"[{"name": "p", "params": {"a": §null, "": §[]}}]"#,
            &[
                "ograph.projections[0].params.a: must be a string, a number or a boolean, not null",
                r#"ograph.projections[0].params."": must be a string, a number or a boolean, not an array"#,
            ],
        ),
        (
            r#"[{"name": "p", "ignore": [§"a"], "valuePointer": §"/~"}]"#,
            &[
                "ograph.projections[0].ignore[0]: not a JSON pointer (RFC 6901): it must be empty or start with '/'",
                "ograph.projections[0].valuePointer: not a JSON pointer (RFC 6901): '~' must be followed by 0 or 1",
            ],
        ),
        (
            r#"[{"name": "p", "as": "q"}, §"q"]"#,
            &[r#"ograph.projections[1]: "q" is already watched on line 2; "as" gives it a key of its own"#],
        ),
        (r#"[{"name": "p", "as": §""}]"#, &["ograph.projections[0].as: must not be empty"]),
    ] {
        let text = format!(
            "{{\"ograph\": {{\"endpoint\": \"https://o.example\", \"token\": \"t\",\n\"projections\": {projections}}}}}"
        );
        assert_problems("error", &text, expected);
    }
}

#[test]
fn what_is_wrong_with_the_endpoint_and_the_token_is_said() {
    for (ograph, expected) in [
        (
            "§§{}",
            &[
                "ograph.endpoint: is missing; set it in the file, as OGRAPH_ENDPOINT or with --endpoint",
                "ograph.token: is missing; set it in the file, as OGRAPH_TOKEN or with --token-file",
            ][..],
        ),
        ("§5", &["ograph: must be an object, not a number"]),
        (
            r#"{"endpoint": §"https://x/?a", "token": "t"}"#,
            &["ograph.endpoint: must not contain '?' or '#': paths are appended to it"],
        ),
        (
            r#"{"endpoint": §"https://ann@x/", "token": "t"}"#,
            &["ograph.endpoint: must not contain a user name or password; credentials have keys of their own"],
        ),
        (
            r#"{"endpoint": §"<https://x>", "token": §"<t>"}"#,
            &[
                "ograph.endpoint: still holds a placeholder; replace it by your own value",
                "ograph.token: still holds a placeholder; replace it by your own value",
            ],
        ),
        (
            r#"{"endpoint": "http://x", "token": §{}}"#,
            &[r#"ograph.token: must have exactly one member, "file" or "env""#],
        ),
        (
            r#"{"endpoint": "http://x", "token": §{"path": "x"}}"#,
            &[r#"ograph.token: must be a string, {"file": …} or {"env": …}"#],
        ),
        (
            r#"{"endpoint": "http://x", "token": §{"env": "NOT_SET"}}"#,
            &["ograph.token: the environment variable NOT_SET is not set"],
        ),
        (
            r#"{"endpoint": "http://x", "token": §"ä"}"#,
            &["ograph.token: must be visible ASCII characters on one line, without white space around them"],
        ),
        (
            r#"{"endpoint": "http://x", "token": "t", "timeout": §{}}"#,
            &["ograph.timeout: must be a whole number of milliseconds from 1 to 86400000, not an object"],
        ),
        (
            r#"{"endpoint": "http://x", "token": "t", "concurrency": §0, "maxBodyBytes": §-1, "proxy": §"socks5://x"}"#,
            &[
                "ograph.concurrency: must be a whole number from 1 to 1024, not 0",
                "ograph.maxBodyBytes: must be a whole number from 1 to 1073741824, not -1",
                "ograph.proxy: must be a URL that starts with http://",
            ],
        ),
    ] {
        assert_problems("error", &format!("{{\n\"ograph\": {ograph}}}"), expected);
    }
    assert_problems("error", "§[]", &["must be an object, not an array"]);
    let missing = "is missing; set it in the file, as OGRAPH_ENDPOINT or with --endpoint";
    let no_token = "is missing; set it in the file, as OGRAPH_TOKEN or with --token-file";
    let text = "{}";
    assert_eq!(
        problems(text),
        format!(
            "error: f.json: ograph.endpoint: {missing}\nerror: f.json: ograph.token: {no_token}\n\
             warning: f.json: ograph.projections: is empty, so nothing is watched; name projections in the file or as \
             OGRAPH_PROJECTIONS"
        )
    );
}

/// The problems of this severity are `expected`; each place is marked by `§` in the text, in order.
fn assert_problems(severity: &str, marked: &str, expected: &[&str]) {
    let mut text = String::new();
    let mut lines = Vec::new();
    for (index, part) in marked.split('§').enumerate() {
        if index > 0 {
            let column =
                text.lines().last().filter(|_| !text.ends_with('\n')).map_or(0, |line| line.chars().count()) + 1;
            let message = expected.get(index - 1).unwrap_or_else(|| panic!("more marks than messages: {marked}"));
            lines.push(format!("{severity}: f.json:{}:{column}: {message}", text.matches('\n').count() + 1));
        }
        text += part;
    }
    assert_eq!(lines.len(), expected.len(), "fewer marks than messages: {marked}");
    let prefix = format!("{severity}: f.json:");
    let found = problems(&text);
    let found: Vec<_> = found.lines().filter(|line| line.starts_with(&prefix)).collect();
    assert_eq!(found, lines, "{text}");
}

#[test]
fn all_errors_are_found_in_one_run_in_the_order_of_the_file() {
    let text = "{\n  \"intervals\": {\"watcherIdle\": 0, \"watcherAktive\": 1},\n  \"ograph\": {\"endpoint\": \"x\"},\n  \"log\": {\"format\": 1}\n}";
    let loader = with(&[("OC_MIN_AVAILABLE", "many"), ("OGRAPH_PROJECTIONS", "p,?,q")]);
    assert_eq!(
        problems_with(&loader, text),
        "error: f.json:2:32: intervals.watcherIdle: must be a whole number of milliseconds from 1 to 86400000, not 0\n\
         error: f.json:3:13: ograph.token: is missing; set it in the file, as OGRAPH_TOKEN or with --token-file\n\
         error: f.json:3:26: ograph.endpoint: must be a URL that starts with http:// or https://\n\
         error: f.json:4:21: log.format: must be \"text\" or \"json\", not 1\n\
         error: OGRAPH_PROJECTIONS: ograph.projections: the projection's name is empty\n\
         error: OC_MIN_AVAILABLE: oc.minAvailable: must be a whole number from 0 to 1000000, not \"many\"\n\
         warning: f.json:2:35: intervals.watcherAktive: unknown key, ignored; did you mean \"watcherActive\"?"
    );
}

#[test]
fn unknown_keys_are_warnings_with_the_nearest_known_one() {
    for (members, expected) in [
        (r#"§"intervalls": {}"#, &[r#"intervalls: unknown key, ignored; did you mean "intervals"?"#]),
        (
            r#""oc": {§"min_available": 2}"#,
            &[r#"oc.min_available: unknown key, ignored; did you mean "minAvailable"?"#],
        ),
        (r#""oc": {§"comment": {"a": 1}}"#, &["oc.comment: unknown key, ignored"]),
        (
            r#""push": {"openclaw": {"target": "a", §"chanel": "b"}}"#,
            &[r#"push.openclaw.chanel: unknown key, ignored; did you mean "channel"?"#],
        ),
        (
            r#""agents": [{"type": "command", "argv": ["a"], §"args": []}]"#,
            &[r#"agents[0].args: unknown key, ignored; did you mean "argv"?"#],
        ),
        (r#"§"a b\n": 1"#, &[r#""a b\n": unknown key, ignored"#]),
    ] {
        assert_problems("warning", &file(members), expected);
    }
}

#[test]
fn what_can_never_tell_or_watch_anything_is_a_warning() {
    let nobody =
        "warning: f.json: nobody will ever be told: there is no dispatch file, no `push.openclaw.target` and no agent";
    let off = "\"push\": {\"dispatchFile\": null}";
    assert_eq!(problems(&file(off)), nobody);
    assert_eq!(problems(&file("\"push\": {\"dispatchFile\": null, \"openclaw\": {\"target\": \"a\"}}")), "");
    assert_eq!(problems(&file(&format!("{off}, \"agents\": [{{\"type\": \"command\", \"argv\": [\"a\"]}}]"))), "");
    let hook = "{\"type\": \"oc-hook\", \"url\": \"http://x\", \"token\": \"t\", \"mode\": \"wake\"}";
    assert_eq!(problems(&file(&format!("{off}, \"agents\": [{hook}]"))), "");
    let nothing = "is empty, so nothing is watched; name projections in the file or as OGRAPH_PROJECTIONS";
    assert_eq!(
        problems("{\"ograph\": {\"endpoint\": \"http://x\", \"token\": \"t\"}}"),
        format!("warning: f.json:1:12: ograph.projections: {nothing}")
    );
}

#[test]
fn what_is_not_active_in_this_version_is_said() {
    assert_problems(
        "warning",
        &file(r#""discovery": §{"agentId": 3}"#),
        &["discovery: is valid, but not active in this version: projections are not found by themselves"],
    );
}

#[test]
fn an_active_pace_slower_than_the_idle_one_is_a_warning() {
    assert_eq!(
        problems(&file("\"intervals\": {\"watcherActive\": 30001}")),
        "warning: f.json:3:14: intervals.watcherActive: is longer than `watcherIdle`, so activity would slow things down"
    );
}
