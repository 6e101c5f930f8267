//! Certificates that are wrong, and servers that speak no TLS: no change, no secret to a stranger, one line an edge, and
//! all is well again when the certificate is.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{DEADLINE, Job, Manner, TlsFront, change_of, observe_for, wait_until};

/// What may be wrong, and what the log says of it.
const TROUBLES: [(Manner, &str); 7] = [
    (Manner::Expired, "the certificate has expired"),
    (Manner::Early, "the certificate is not valid yet; is the clock right?"),
    (Manner::OtherName, "the certificate is for another name"),
    (Manner::Stranger, "the certificate comes from an authority that this system does not trust"),
    (Manner::Plain, "it does not speak TLS"),
    (Manner::Cut, "closed early"),
    (Manner::Silent, "within"),
];

/// A job whose daemon trusts the authority of `front`.
fn trusting(mut job: Job, front: &TlsFront) -> Job {
    let authority = job.setup.path("authority.pem");
    fs::write(&authority, front.authority()).expect("a file");
    job.setup.env.push(("SSL_CERT_FILE".to_owned(), authority.to_str().expect("UTF-8").to_owned()));
    job
}

#[test]
fn an_ograph_with_a_wrong_certificate_is_told_nothing_and_believed_nothing() {
    let mut job = Job::new([("board", json!(0))]);
    let front = TlsFront::start(job.ograph.address());
    job.setup.config["ograph"]["endpoint"] = json!(front.url());
    job.setup.config["ograph"]["timeout"] = json!(500);
    let job = trusting(job, &front);
    let daemon = job.start();
    for (round, (manner, words)) in TROUBLES.into_iter().enumerate() {
        let told = job.attempts().len();
        let failing = daemon.count_log("cannot poll");
        front.meet(manner);
        wait_until(DEADLINE, &format!("{manner:?} is noticed"), || daemon.count_log("cannot poll") > failing);
        let value = json!({ "round": round });
        job.ograph.set("board", &value);
        let asked = job.ograph.requests().len();
        // The projections fail together or one after the other, and are tried again and again.
        wait_until(DEADLINE, &format!("{manner:?} is said for both projections"), || said(&daemon.log(), failing) == 2);
        observe_for(Duration::from_millis(700));
        assert_eq!(said(&daemon.log(), failing), 2, "{manner:?}: once a projection: {:#?}", daemon.log());
        let line = daemon.log().into_iter().rfind(|line| line.contains("cannot poll")).expect("a line");
        assert!(line.contains(words), "{manner:?}: {line}");
        assert_eq!((front.trusted(), job.ograph.requests().len()), (0, asked), "{manner:?} was told the token");
        assert_eq!(job.attempts().len(), told, "{manner:?} was taken for a change");

        front.meet(Manner::Good);
        let documents = job.wait_for_documents(told + 1);
        let change = change_of(&documents[told], "board");
        assert_eq!(change["new"], value, "{manner:?}");
        // Both are well again.
        job.wait_for_polls(2);
    }
    daemon.terminate();
}

/// How many projections the log calls failing, after its first `skipped` lines about that.
fn said(log: &[String], skipped: usize) -> usize {
    let lines = log.iter().filter_map(|line| line.split_once("cannot poll ")?.1.split_once(": ")).skip(skipped);
    lines.map(|(names, _)| names.split(", ").count()).sum()
}

#[test]
fn a_receiver_with_a_wrong_certificate_gets_nothing_and_later_what_is_true_then() {
    let mut job = Job::new([("board", json!(0))]);
    let front = TlsFront::start(job.openclaw.address());
    let mut webhook = job.openclaw.webhook_receiver();
    let path = url_path(&webhook["url"]);
    webhook["url"] = json!(front.url() + &path);
    webhook["timeout"] = json!(500);
    job.setup.config["agents"].as_array_mut().expect("agents").push(webhook);
    let job = trusting(job, &front);
    let daemon = job.start();
    for (round, (manner, words)) in TROUBLES.into_iter().enumerate() {
        let (told, delivered) = (job.openclaw.webhook_deliveries().len(), daemon.count_log("to webhook:https"));
        let failed = daemon.count_log("webhook:https");
        front.meet(manner);
        let value = json!({ "round": round });
        job.change("board", &value);
        wait_until(DEADLINE, &format!("{manner:?} is noticed"), || {
            daemon
                .log()
                .iter()
                .filter(|line| line.contains("webhook:https"))
                .skip(failed)
                .any(|line| line.contains("failed, and will be tried again") && line.contains(words))
        });
        assert_eq!((front.trusted(), job.openclaw.webhook_deliveries().len()), (0, told), "{manner:?} got a document");
        // The healthy one is told all the same.
        wait_until(DEADLINE, "the healthy one is told", || {
            job.documents().last().is_some_and(|document| change_of(document, "board")["new"] == value)
        });
        front.meet(Manner::Good);
        wait_until(DEADLINE, &format!("it is told after {manner:?}"), || {
            let deliveries = job.openclaw.webhook_deliveries();
            deliveries.len() > told && change_of(&deliveries[deliveries.len() - 1].json(), "board")["new"] == value
        });
        wait_until(DEADLINE, &format!("it is delivered once after {manner:?}"), || {
            daemon.count_log("to webhook:https") == delivered + 1
        });
    }
    daemon.terminate();
}

fn url_path(url: &Value) -> String {
    let url: url::Url = url.as_str().expect("text").parse().expect("a URL");
    url.path().to_owned()
}
