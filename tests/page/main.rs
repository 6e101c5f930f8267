//! The status page in a real browser: what a person sees, and what happens when they click.
//!
//! Left out of the plain test command, because it needs Chromium: `tests/page/run.sh` installs that and runs it.

mod browser;
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use serde_json::{Value, json};

use self::{
    browser::{Browser, wait_for_page},
    support::{Client, DEADLINE, Job, observe_for, wait_until},
};

/// WebDriver's names of keys.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

fn job() -> Job {
    let job = Job::new([("board", json!({"status": "todo", "by": null}))]).with_control();
    job.openclaw.set_available(1);
    job
}

fn address(client: &Client) -> String {
    format!("http://{}/#token={}", client.address, client.token)
}

/// The page of the daemon that runs, connected and live.
#[track_caller]
fn page(job: &Job) -> (Client, Browser) {
    let client = Client::of(&job.setup);
    let browser = Browser::start("en-US");
    browser.open(&address(&client));
    browser.wait_for_text("link", "live");
    (client, browser)
}

#[test]
fn a_change_appears_by_itself_with_what_was_and_what_is() {
    let job = job();
    let _daemon = job.start();
    let (_, browser) = page(&job);
    browser.wait_for_text("headline", "Everyone is up to date");
    browser.wait_for_text("ograph-state", "reachable");
    job.ograph.set("board", &json!({"status": "done", "by": "mira", "id": 12_345_678_901_234_567_890_u64}));
    browser.wait_for_text("headline", "1 change waits for room");
    browser.wait_for_text("sub", "1 of 2 needed slots free");
    browser.wait_for_text("pending-state", "1 change");
    for part in ["board", "status", "todo", "done", "mira", "12345678901234567890"] {
        browser.wait_for_text("changes", part);
    }
    browser.wait_for_text("activity", "Changed");
    job.openclaw.set_available(9);
    job.wait_for_documents(1);
    browser.wait_for_text("deliveries", "delivered");
    browser.wait_for_text("changes", "Nothing is pending");
    browser.assert_no_complaints();
}

#[test]
fn the_buttons_flush_poll_pause_and_resume_also_by_keyboard() {
    let job = job();
    let _daemon = job.start();
    let (client, browser) = page(&job);
    job.ograph.set("board", &json!({"status": "done"}));
    browser.wait_for_text("state", "waiting");
    browser.click("flush");
    browser.wait_for_text("toasts", "1 of 1 receivers told");
    assert_eq!(job.wait_for_documents(1)[0]["reason"], "flush");
    browser.wait_for_text("deliveries", "flush");

    browser.click("poll");
    browser.wait_for_text("toasts", "Every projection was polled");

    browser.run("document.getElementById('poll').focus()");
    browser.press(&[TAB, ENTER]);
    browser.wait_for_text("headline", "Pushing is paused");
    assert_eq!(client.json("/v1/status")["scheduler"]["state"], "paused");
    assert_eq!(browser.text("pause"), "Resume");
    assert_eq!(browser.run("return document.activeElement.id"), "pause", "the focus stays where it was");
    browser.press(&[ENTER]);
    wait_until(DEADLINE, "it is resumed", || client.json("/v1/status")["scheduler"]["state"] != "paused");
    browser.wait_for_text("pause", "Pause");
    browser.assert_no_complaints();
}

#[test]
fn content_from_elsewhere_is_shown_and_never_becomes_markup() {
    let hostile = "</script><img src=x onerror=\"window.hacked=1\"><svg onload=window.hacked=1>";
    let mut job = job();
    job.ograph.set("nasty", &json!({hostile: "before"}));
    let nasty = json!({"name": "nasty", "as": format!("nasty {hostile}")});
    job.setup.config["ograph"]["projections"].as_array_mut().unwrap().push(nasty);
    job.setup.config["agents"][0]["name"] = json!(format!("agent {hostile}"));
    let _daemon = job.start();
    job.ograph.wait_for_polls(&["nasty"], 3, DEADLINE);
    let (_, browser) = page(&job);
    job.ograph.set("nasty", &json!({hostile: hostile, "__proto__": {"polluted": true}, "toString": hostile}));
    for id in ["changes", "activity", "receivers"] {
        browser.wait_for_text(id, "onerror=\"window.hacked=1\"");
    }
    browser.click("flush");
    browser.wait_for_text("deliveries", "onerror");
    let seen = browser.run(
        "return {hacked: 'hacked' in window, polluted: 'polluted' in {}, images: document.images.length,
                 scripts: document.scripts.length}",
    );
    assert_eq!(seen, json!({"hacked": false, "polluted": false, "images": 0, "scripts": 1}));
    browser.assert_no_complaints();
}

#[test]
fn the_policy_stops_what_a_mistake_would_let_through() {
    let job = job();
    let _daemon = job.start();
    let (_, browser) = page(&job);
    browser.assert_no_complaints();
    browser.run(
        "const script = document.createElement('script'); script.textContent = 'window.hacked = 1';
         document.body.append(script);
         const image = new Image(); image.src = 'http://127.0.0.1:9/pixel'; document.body.append(image);
         fetch('http://127.0.0.1:9/').catch(() => {});",
    );
    observe_for(Duration::from_millis(300));
    assert_eq!(browser.run("return 'hacked' in window"), false);
    let complaints = browser.complaints();
    let refused = complaints.iter().filter(|line| line.contains("Content Security Policy")).count();
    assert!(refused >= 3, "{complaints:#?}");
}

#[test]
fn the_page_survives_a_restart_of_the_daemon() {
    let mut job = job();
    let daemon = job.start();
    let (client, browser) = page(&job);
    daemon.terminate();
    browser.wait_for_text("link", "reconnecting");
    // The port that it had; the token is kept.
    job.setup.config["control"]["listen"] = json!(client.address.to_string());
    let _daemon = job.start();
    browser.wait_for_text("link", "live");
    job.ograph.set("board", &json!({"status": "after the restart"}));
    browser.wait_for_text("changes", "after the restart");
}

#[test]
fn the_token_leaves_the_address_is_kept_for_the_tab_and_asked_for_if_it_is_missing_or_wrong() {
    let job = job();
    let _daemon = job.start();
    let (client, browser) = page(&job);
    let bare = format!("http://{}/", client.address);
    assert_eq!(browser.run("return location.href"), json!(bare));
    browser.open(&bare);
    browser.wait_for_text("link", "live");

    let other = Browser::start("en-US");
    other.open(&bare);
    other.wait_for_text("gate", "ograph-dispatcher open");
    assert_eq!(other.run("return document.getElementById('main').hidden"), true);
    let submit = |token: &str| {
        let value = Value::from(token);
        other.run(&format!("document.getElementById('token').value = {value}"));
        other.run("document.getElementById('gate-form').requestSubmit()");
    };
    submit("wrong");
    other.wait_for_text("gate-wrong", "refuses this token");
    submit(&client.token);
    other.wait_for_text("link", "live");
    other.wait_for_text("headline", "Everyone is up to date");
}

#[test]
fn it_speaks_chinese_to_those_who_prefer_it_and_english_at_a_click() {
    let job = job();
    let _daemon = job.start();
    let client = Client::of(&job.setup);
    let browser = Browser::start("zh-CN");
    browser.open(&address(&client));
    browser.wait_for_text("headline", "所有接收方都是最新状态");
    assert_eq!(browser.run("return document.documentElement.lang"), "zh-CN");
    browser.click("language");
    browser.wait_for_text("headline", "Everyone is up to date");
    browser.open(&address(&client));
    browser.wait_for_text("headline", "Everyone is up to date");
    browser.assert_no_complaints();
}

#[test]
fn it_fits_narrow_and_wide_windows_in_light_and_dark_and_everything_has_a_name() {
    let job = job();
    let _daemon = job.start();
    let (_, browser) = page(&job);
    let long = "x".repeat(300);
    job.ograph.set("board", &json!({ long.clone(): long }));
    browser.wait_for_text("changes", "xxxxxxxx");
    let mut colours = Vec::new();
    for (width, dark) in [(320, false), (768, true), (1024, false), (1600, true)] {
        browser.show_as(width, dark);
        let fits = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        wait_for_page(&browser, &format!("no sideways scrolling at {width} pixels"), fits);
        colours.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(colours[0], colours[1]);
    assert_eq!((&colours[0], &colours[1]), (&colours[2], &colours[3]));
    let nameless = browser.run(
        "return [...document.querySelectorAll('button, input, section:not([hidden])')]
             .filter((one) => one.offsetParent !== null)
             .filter((one) => !(one.innerText || '').trim() && !one.getAttribute('aria-label') && !one.labels?.length)
             .map((one) => one.outerHTML)",
    );
    assert_eq!(nameless, json!([]));
    browser.assert_no_complaints();
}
