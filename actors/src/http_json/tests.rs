//! Any JSON server as it answers, and as it fails.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    clock::SystemClock,
    fault_server::{FaultServer, Reply},
    http::HttpOptions,
};

fn source(template: &str, headers: &[(&str, &str)]) -> HttpJsonSource {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect();
    let options = HttpJsonOptions {
        headers,
        timeout: Duration::from_secs(20),
        ..HttpJsonOptions::new(template.parse().expect("a template"))
    };
    HttpJsonSource::new(HttpClient::new(&HttpOptions::default()), Arc::new(SystemClock::new()), options)
}

fn projection(text: &str) -> Projection {
    text.parse().expect("a projection")
}

fn template(text: &str) -> Result<UrlTemplate, InvalidTemplate> {
    text.parse()
}

async fn poll(reply: Reply, projection: &Projection) -> Result<Observation, SourceError> {
    let server = FaultServer::start([reply]).await;
    source(&server.url("/{name}"), &[]).observe(projection, &Validators::default()).await
}

#[actix_rt::test]
async fn the_whole_answer_is_the_value_unless_a_pointer_says_otherwise() {
    let body = r#"{"value": 1, "data": {"items": [12345678901234567890123]}}"#;
    let whole = poll(Reply::json(body), &projection("stock")).await;
    let Ok(Observation::Present { value, .. }) = whole else { panic!("{whole:?}") };
    assert_eq!(value["value"], json!(1));
    let pointed =
        Projection { value_pointer: Some("/data/items/0".parse().expect("a pointer")), ..projection("stock") };
    let found = poll(Reply::json(body), &pointed).await;
    let Ok(Observation::Present { value, .. }) = found else { panic!("{found:?}") };
    assert_eq!(value.to_string(), "12345678901234567890123");
    let astray = Projection { value_pointer: Some("/nowhere".parse().expect("a pointer")), ..projection("stock") };
    let error = poll(Reply::json(body), &astray).await.expect_err("no value");
    assert_eq!(error.kind, SourceErrorKind::NotJson);
}

#[actix_rt::test]
async fn url_headers_and_validators_are_sent() {
    let server = FaultServer::start([Reply::json("[1]")]).await;
    let url = server.url("/v1/{agent}/{name}.json?lang=en");
    let source = source(&url, &[("x-api-key", "k3y")]);
    let known = Validators { etag: Some("\"7\"".to_owned()), body_hash: None };
    let seen = source.observe(&projection("open tasks?agent=a/b&state=1"), &known).await.expect("an observation");
    let Observation::Present { validators, .. } = seen else { panic!("{seen:?}") };
    let again = source.observe(&projection("tasks?agent=7"), &validators).await;
    assert_eq!(again, Ok(Observation::Unchanged), "the same bytes");
    let request = server.requests().first().expect("asked").clone();
    assert_eq!(request.target, "/v1/a%2Fb/open%20tasks.json?lang=en&state=1");
    assert_eq!(request.header("x-api-key"), Some("k3y"));
    assert_eq!(request.header("if-none-match"), Some("\"7\""));
}

#[actix_rt::test]
async fn a_projection_can_have_a_url_of_its_own() {
    let server = FaultServer::start([Reply::json("1")]).await;
    let mut source = source("http://127.0.0.1:1/{name}", &[]);
    source.options.urls.insert("tasks".to_owned(), template(&server.url("/elsewhere")).expect("a template"));
    assert!(source.observe(&projection("tasks"), &Validators::default()).await.is_ok());
    let error = source.observe(&projection("notes"), &Validators::default()).await.expect_err("nobody there");
    assert_eq!(error.kind, SourceErrorKind::Transport);
    assert!(error.message.starts_with("http://127.0.0.1:1: "), "{error}");
}

#[actix_rt::test]
async fn failures_are_errors_and_never_absence() {
    for (status, body, kind) in [
        (500, "{}", SourceErrorKind::Server),
        (401, "{}", SourceErrorKind::Unauthorized),
        (429, "{}", SourceErrorKind::RateLimited),
        (404, "<html>not found</html>", SourceErrorKind::NotJson),
        (200, "<html>please log in</html>", SourceErrorKind::NotJson),
        (200, "", SourceErrorKind::NotJson),
        (206, "{}", SourceErrorKind::Server),
    ] {
        let error = poll(Reply::new(status, &[], body), &projection("tasks")).await.expect_err("a failure");
        assert_eq!(error.kind, kind, "{status} {body}");
    }
    let gone = Reply::new(404, &[], r#"{"error":"no such thing"}"#);
    assert_eq!(poll(gone, &projection("tasks")).await, Ok(Observation::Absent));
}

#[actix_rt::test]
async fn what_is_secret_is_not_in_the_error() {
    let server = FaultServer::start([Reply::new(403, &[], r#"{"message":"bad key k3y"}"#)]).await;
    let url = server.url("/{name}?token=q5ecret").replace("http://", "http://user:pa55@");
    let error = source(&url, &[("x-api-key", "k3y")])
        .observe(&projection("tasks"), &Validators::default())
        .await
        .expect_err("refused");
    for secret in ["k3y", "q5ecret", "pa55"] {
        assert!(!error.message.contains(secret), "{error}");
        assert!(!format!("{:?}", template(&url)).contains(secret));
    }
}

#[actix_rt::test]
async fn a_parameter_that_is_missing_is_named() {
    let source = source("http://127.0.0.1:1/{agent}", &[]);
    let error = source.observe(&projection("tasks"), &Validators::default()).await.expect_err("no URL");
    assert_eq!(error.kind, SourceErrorKind::Internal);
    assert_eq!(error.message, "the URL needs the parameter `agent`, which the projection does not have");
}

#[test]
fn templates_that_make_no_url_are_refused() {
    for (text, error) in [
        ("http://host/{", InvalidTemplate::Braces),
        ("http://host/}", InvalidTemplate::Braces),
        ("http://host/{}", InvalidTemplate::Braces),
        ("http://host/{a{b}", InvalidTemplate::Braces),
        ("http://host/}{a}", InvalidTemplate::Braces),
        ("", InvalidTemplate::NotHttp),
        ("tasks", InvalidTemplate::NotHttp),
        ("file:///etc/{name}", InvalidTemplate::NotHttp),
        ("ftp://host/{name}", InvalidTemplate::NotHttp),
        ("http://{name}/x", InvalidTemplate::Server("name".to_owned())),
        ("http://host{name}/x", InvalidTemplate::Server("name".to_owned())),
        ("{name}", InvalidTemplate::Server("name".to_owned())),
        ("http:{name}", InvalidTemplate::Server("name".to_owned())),
    ] {
        assert_eq!(template(text).expect_err(text), error, "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_is_filled_in_server_and_path_stay_where_they_are(name in "\\PC{1,8}", value in "(?s).{0,8}") {
        let template = template("https://host/a/{name}/{x}/z").expect("a template");
        let params = [("x".to_owned(), value.clone()), ("more".to_owned(), value.clone())].into();
        match template.expand(&name, &params) {
            Ok(url) => {
                prop_assert_eq!(url.host_str(), Some("host"));
                let segments: Vec<_> = url.path_segments().expect("a path").collect();
                prop_assert_eq!((segments.len(), segments[0], segments[3]), (4, "a", "z"));
                prop_assert_eq!(url.fragment(), None);
                prop_assert_eq!(url.query_pairs().collect::<Vec<_>>(), [("more".into(), value.into())]);
            }
            Err(error) => prop_assert!(matches!(error, InvalidTemplate::Dots(_))),
        }
    }

    #[test]
    fn no_text_makes_a_template_panic(text in ".{0,9}(http://)?.{0,9}(\\{.{0,3}\\})?.{0,9}") {
        if let Ok(template) = template(&text) {
            drop(template.expand("n", &BTreeMap::new()));
        }
    }
}
