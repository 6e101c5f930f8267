//! Nothing secret is ever printed.

use super::*;

const MARKER: &str = "hush-hush";

fn assert_hidden(what: &str, output: &str) {
    assert!(!output.contains(MARKER), "{what} shows a secret: {output}");
}

/// Everything that a run can print.
fn everything(loader: &Loader, text: &str) -> String {
    let mut output = format!("{loader:?}\n{loader:#?}");
    match load_with(loader, text) {
        Ok(loaded) => {
            output += &format!("{loaded:?}\n{loaded:#?}\n{:?}\n", loaded.config);
            output += &serde_json::to_string(&loaded.settings).unwrap();
            output += &serde_json::to_string(&loaded.warnings).unwrap();
            output.extend(loaded.warnings.iter().map(ToString::to_string));
        }
        Err(error) => {
            output += &format!("{error}\n{error:?}\n");
            if let LoadError::Invalid(problems) = error {
                output += &serde_json::to_string(&problems).unwrap();
            }
        }
    }
    output
}

#[test]
fn a_valid_configuration_full_of_secrets_shows_none() {
    let text = EVERY_KEY
        .replace("fixture-ograph-token", MARKER)
        .replace("fixture-status-token", MARKER)
        .replace("fixture-gateway-token", MARKER)
        .replace("fixture-plugin-secret", MARKER)
        .replace("fixture-hook-token", MARKER)
        .replace("fixture-control-token", MARKER)
        .replace("ann:fixture@", &format!("{MARKER}:{MARKER}@"))
        .replace("?key=fixture", &format!("?key={MARKER}"))
        .replace("\"--key\"", &format!("\"--key={MARKER}\""));
    assert_eq!(text.matches(MARKER).count(), 11);
    let loader = with(&[
        ("FIXTURE_TOKEN", MARKER),
        ("OC_STATUS_TOKEN", MARKER),
        ("OGRAPH_CONTROL_TOKEN", MARKER),
        ("OPENCLAW_GATEWAY_TOKEN", MARKER),
    ]);
    let loaded = load_with(&loader, &text).unwrap();
    assert_eq!(loaded.config.ograph.token.expose(), MARKER, "it is really there");
    assert_hidden("a valid configuration", &everything(&loader, &text));
}

#[test]
fn no_error_about_a_secret_repeats_it() {
    let wrong = [
        format!("\"{MARKER}\\n{MARKER}\""),
        format!("\" {MARKER}\""),
        format!("\"<{MARKER}>\""),
        format!("[\"{MARKER}\"]"),
        format!("{{\"env\": \"{MARKER}\"}}"),
        format!("{{\"env\": [\"{MARKER}\"]}}"),
        format!("{{\"token\": \"{MARKER}\"}}"),
        format!("{{\"file\": \"x\", \"token\": \"{MARKER}\"}}"),
    ];
    for wrong in wrong {
        for place in [
            "\"ograph\": {\"endpoint\": \"http://x\", \"token\": #}",
            "\"oc\": {\"statusToken\": #}",
            "\"oc\": {\"gateway\": {\"url\": \"ws://x\", \"token\": #}}",
            "\"control\": {\"token\": #}",
            "\"agents\": [{\"type\": \"oc-plugin\", \"url\": \"http://x\", \"actor\": 1, \"secret\": #}]",
            "\"agents\": [{\"type\": \"webhook\", \"url\": \"http://x\", \"secret\": #}]",
            "\"agents\": [{\"type\": \"oc-hook\", \"url\": \"http://x\", \"mode\": \"wake\", \"token\": #}]",
            "\"agents\": [{\"type\": \"command\", \"argv\": [\"x\", \"a\", #]}]",
        ] {
            let text = format!("{{{}}}", place.replace('#', &wrong));
            assert_hidden(&text, &everything(&with(&[]), &text));
        }
    }
    let webhook =
        format!("{{\"agents\": [{{\"type\": \"webhook\", \"url\": \"http://x\", \"secret\": \"{MARKER}\"}}]}}");
    assert_hidden("a webhook secret", &everything(&with(&[]), &webhook));
    let loader = with(&[("OGRAPH_TOKEN", " hush-hush"), ("OC_STATUS_TOKEN", "hush-hush\u{1}")]);
    assert_hidden("a variable", &everything(&loader, "{}"));
}

#[test]
fn no_error_about_a_url_repeats_it() {
    for url in [
        format!("ftp://ann:{MARKER}@host/"),
        format!("https://ann:{MARKER}@host/"),
        format!("https://host:{MARKER}/"),
        format!("https://host/?token={MARKER}"),
        format!("https://ho st/?token={MARKER}"),
        format!("//{MARKER}"),
        MARKER.to_owned(),
    ] {
        for place in [
            "\"ograph\": {\"endpoint\": \"#\", \"token\": 5, \"proxy\": \"#\"}",
            "\"oc\": {\"statusEndpoint\": \"#\", \"minAvailable\": -1}",
            "\"oc\": {\"gateway\": {\"url\": \"#\"}}",
            "\"agents\": [{\"type\": \"oc-plugin\", \"url\": \"#\"}, {\"type\": \"oc-plugin\", \"url\": \"#\"}]",
            "\"agents\": [{\"type\": \"webhook\", \"url\": \"#\"}, {\"type\": \"webhook\", \"url\": \"#\"}]",
            "\"agents\": [{\"type\": \"oc-hook\", \"url\": \"#\"}, {\"type\": \"oc-gateway\", \"url\": \"#\"}]",
        ] {
            let text = format!("{{{}}}", place.replace('#', &url));
            assert_hidden(&text, &everything(&with(&[]), &text));
        }
        let loader = with(&[("OGRAPH_ENDPOINT", &url), ("OC_STATUS_ENDPOINT", &url), ("OPENCLAW_GATEWAY_URL", &url)]);
        assert_hidden("a variable", &everything(&loader, "{\"oc\": {\"gateway\": {}}}"));
    }
}

#[test]
fn a_syntax_error_repeats_nothing_of_the_file() {
    for text in [
        format!("{{\"token\": \"{MARKER}"),
        format!("{{\"token\": {MARKER}}}"),
        format!("{{\"token\": \"\\u{MARKER}\"}}"),
        format!("{{\"token\": \"x\" \"{MARKER}\": 1}}"),
        format!("{{\"token\": '{MARKER}'}}"),
    ] {
        assert_hidden(&text, &everything(&with(&[]), &text));
    }
}
