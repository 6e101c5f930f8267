//! Everything that can be wrong with an answer, all at once, each to one projection: no false change, nobody else is
//! delayed, memory stays bounded, one line in the log when it begins and one when it ends.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::support::{Answer, DEADLINE, Job, Reply, change_of, now, observe_for, wait_until};

/// The answers, by the name of the projection that gets them. The right value of each is `{"name": NAME}`.
fn faults() -> Vec<(&'static str, Reply)> {
    let wrong = json!({"value": "wrong"});
    let json = |text: &str| Reply::from(Answer::text(200, "application/json", text));
    let right = Answer::json(200, &wrong);
    let to = |url: &str| Reply::from(Answer::empty(302).header("location", url));
    let utf16: Vec<u8> = wrong.to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1 = b"{\"value\": \"caf\xe9\"}".to_vec();
    let bomb = |text: String| Reply::from(Answer::text(200, "application/json", text).gzip());
    let many_keys: String = (0..20_000).map(|number| format!("\"k{number}\":0,")).collect();
    vec![
        ("s500", Answer::json(500, &wrong).into()),
        ("s502", Answer::html(502).into()),
        ("s503", Answer::json(503, &wrong).header("retry-after", "1").into()),
        ("s401", Answer::json(401, &wrong).into()),
        ("s403", Answer::json(403, &wrong).into()),
        ("s404-page", Answer::html(404).into()),
        ("s429-seconds", Answer::json(429, &wrong).header("retry-after", "2").into()),
        ("s429-date", Answer::json(429, &wrong).header("retry-after", &in_two_seconds()).into()),
        ("s206", Answer::json(206, &wrong).into()),
        ("s204", Answer::empty(204).into()),
        ("reset", Reply::Reset),
        ("hang", Reply::Hang),
        ("drip", Reply::Drip(right.clone(), Duration::from_millis(150))),
        ("truncated", Reply::Truncated(right.clone())),
        ("endless", Reply::Endless(Answer::json(200, &json!("x".repeat(1_000))))),
        ("html", Answer::html(200).into()),
        ("empty", json("")),
        ("half", json("{\"value\": {\"name\": ")),
        ("two", json("{\"value\": 1} {\"value\": 2}")),
        ("error-object", json("{\"error\": {\"message\": \"no\"}}")),
        ("utf16", Answer::text(200, "application/json; charset=utf-16", utf16).into()),
        ("latin1", Answer::text(200, "application/json; charset=iso-8859-1", latin1).into()),
        ("surrogate", json("{\"value\": \"\\ud800\"}")),
        ("nan", json("{\"value\": NaN}")),
        ("nested", json(&"[".repeat(30_000))),
        ("nested-objects", json(&"{\"value\":".repeat(7_000))),
        ("too-large", json(&format!("{{{many_keys}\"value\":1}}"))),
        ("bomb", bomb(format!("{{\"value\": \"{}\"}}", " ".repeat(50 << 20)))),
        ("bomb-of-nesting", bomb("[".repeat(50 << 20))),
        ("not-gzip", right.clone().header("content-encoding", "gzip").into()),
        ("unknown-encoding", right.header("content-encoding", "br").into()),
        ("no-http", Reply::Raw(b"\x16\x03\x01 what?".to_vec())),
        ("long-header", Reply::Raw(format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "x".repeat(1 << 20)).into_bytes())),
        ("loop", to("/projections/loop")),
        ("refused", to("http://127.0.0.1:1/")),
        ("no-such-host", to("http://no-such-host.invalid/")),
        ("no-tls", to("https://127.0.0.1:1/")),
        ("no-url", to("http://[half/")),
    ]
}

#[expect(clippy::disallowed_methods, reason = "the daemon compares it with the machine's clock")]
fn in_two_seconds() -> String {
    let at = jiff::Timestamp::try_from(SystemTime::now() + Duration::from_secs(3)).expect("a time");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn no_fault_is_a_change_or_anybody_elses_problem() {
    let faults = faults();
    let names: Vec<_> = faults.iter().map(|(name, _)| *name).collect();
    let all = names.iter().chain(&["healthy", "idle"]);
    let mut job = Job::new(all.map(|name| (*name, json!({"name": name}))));
    job.setup.config["ograph"]["maxBodyBytes"] = json!(65_536);
    job.setup.config["ograph"]["concurrency"] = json!(64);
    job.setup.config["ograph"]["timeout"] = json!(700);
    let daemon = job.start();
    let before = daemon.rss_kib();
    for (name, fault) in faults {
        job.ograph.fault(name, fault);
        // One after the other, because faults of a kind share a line.
        daemon.wait_for_log(&format!("cannot poll {name}: "), DEADLINE);
    }
    let began = now();

    // While everything else is broken, a change is seen and told as ever.
    job.ograph.wait_for_polls(&names, 2, Duration::from_secs(60));
    let change = now();
    job.ograph.set("healthy", &json!("changed"));
    let documents = job.wait_for_documents(1);
    assert!(change.elapsed() < Duration::from_secs(2), "told after {:?}", change.elapsed());
    assert_eq!(change_of(&documents[0], "healthy")["new"], "changed");
    assert_eq!(documents[0]["changes"].as_array().map(Vec::len), Some(1), "{:#}", documents[0]);
    for name in ["healthy", "idle"] {
        let asked: Vec<_> =
            job.ograph.requests().into_iter().filter(|request| request.path().ends_with(name)).collect();
        let gaps = asked.windows(2).map(|pair| pair[1].at - pair[0].at);
        let longest = gaps.max().expect("polls");
        assert!(longest < Duration::from_secs(1), "{name} was not asked for {longest:?}");
    }
    for name in ["s429-seconds", "s503"] {
        let asked: Vec<_> = job
            .ograph
            .requests()
            .into_iter()
            .filter(|request| request.at > began && request.path().ends_with(name))
            .collect();
        let shortest = asked.windows(2).map(|pair| pair[1].at - pair[0].at).min();
        let wanted = Duration::from_secs(if name == "s503" { 1 } else { 2 });
        assert!(shortest.is_none_or(|gap| gap >= wanted), "{name} was asked again after {shortest:?}");
    }
    let after = daemon.rss_kib();
    assert!(after < before + 16 * 1_024, "resident memory: {before} KiB before, {after} KiB with all faults");

    // All recover; what changed meanwhile is found.
    for name in &names {
        job.ograph.set(name, &json!({"name": name, "recovered": true}));
        job.ograph.fault(name, None);
    }
    let mut told = HashSet::new();
    wait_until(Duration::from_secs(60), "all recover", || {
        for document in job.documents().iter().skip(1) {
            for change in document["changes"].as_array().expect("changes") {
                let name = change["projection"].as_str().expect("a name");
                assert_eq!(change["old"], json!({"name": name}), "the fault was taken for a value: {change}");
                assert_eq!(change["new"], json!({"name": name, "recovered": true}), "{change}");
                told.insert(name.to_owned());
            }
        }
        names.iter().all(|name| told.contains(*name))
    });
    job.assert_nothing_is_pending();

    for name in &names {
        assert_eq!(daemon.count_log(&format!("cannot poll {name}: ")), 1, "{name}: one line when it begins");
    }
    assert_eq!(daemon.count_log("cannot poll"), names.len(), "{:#?}", daemon.log());
    wait_until(DEADLINE, "one line, or a part of one, for each recovery", || recovered(&daemon.log()) == names.len());
    assert_eq!(job.ograph.overlapping().len(), 0);
    daemon.terminate();
}

/// How many projections the log says work again.
fn recovered(log: &[String]) -> usize {
    let lists = log.iter().filter_map(|line| line.split_once("polling ")?.1.split_once(" works again"));
    lists
        .map(|(list, _)| match list.split_once(" and ") {
            Some((named, more)) => {
                let more = more.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
                named.split(", ").count() + more
            }
            None => list.split(", ").count(),
        })
        .sum()
}

#[test]
fn values_at_the_edge_of_json_are_compared_and_told_without_harm() {
    let same = [
        ("duplicate", r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
        ("huge", "1e999999999", "10e999999998"),
        ("tiny", "1e-999999999", "0.1e-999999998"),
        ("zero", "0", "0e999999999"),
        ("escapes", "\"é\\u0000\"", "\"\\u00e9\\u0000\""),
        ("deep", "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", " [[[[[[[[[[[[[[[[[[[[ 1 ]]]]]]]]]]]]]]]]]]]] "),
    ];
    let job = Job::new(same.map(|(name, _, _)| (name, Value::Null)));
    for (name, old, _) in same {
        job.ograph.set_text(name, old);
    }
    let daemon = job.start();
    let before = daemon.rss_kib();
    for (name, _, same) in same {
        job.ograph.set_text(name, same);
    }
    job.wait_for_polls(3);
    job.assert_nothing_to_tell();
    job.ograph.set_text("huge", "1e999999998");
    job.wait_for_documents(2);
    let body = String::from_utf8(job.attempts()[1].body.clone()).expect("text");
    assert!(body.contains("99999998"), "{body}");
    assert!(daemon.rss_kib() < before + 8 * 1_024);
}

#[test]
fn a_status_that_is_wrong_in_any_way_is_no_room() {
    let job = Job::new([("board", json!(1))]);
    let daemon = job.start();
    let faults = faults();
    for (name, fault) in faults {
        // What means something else to a status, or takes the gateway's patience.
        if ["s429-seconds", "s429-date", "s503"].contains(&name) {
            continue;
        }
        job.openclaw.answer_status_with(fault);
        job.ograph.set("board", &json!(name));
        job.openclaw.wait_for_status_polls(2, DEADLINE);
        observe_for(Duration::from_millis(50));
        assert_eq!(job.attempts().len(), 0, "{name} was taken for room");
    }
    let unknown = daemon.count_log("availability unknown");
    assert!(unknown <= 60, "one line for each change of the reason, not {unknown}");
    job.openclaw.set_available(9);
    let documents = job.wait_for_documents(1);
    assert_eq!(change_of(&documents[0], "board")["old"], 1);
}
