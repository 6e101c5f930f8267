//! The OGraph stand-in answers like the real engine, over real sockets.

use actix_web::http::header::{AUTHORIZATION, ETAG, HeaderMap, IF_NONE_MATCH};
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "sandbox-token";

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn etag(&self) -> String {
        self.headers.get(ETAG).unwrap().to_str().unwrap().to_owned()
    }
}

async fn ask(method: &str, url: &str, headers: &[(header::HeaderName, &str)], body: &str) -> Answer {
    let mut request = awc::Client::default().request(method.parse().unwrap(), url);
    for (name, value) in headers {
        request = request.insert_header((name.clone(), *value));
    }
    let mut response = request.send_body(body.to_owned()).await.unwrap();
    let body = response.body().await.unwrap().to_vec();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

async fn get(ograph: &OGraphStandIn, path: &str) -> Answer {
    ask("GET", &(ograph.url() + path), &[(AUTHORIZATION, "Bearer sandbox-token")], "").await
}

async fn put(ograph: &OGraphStandIn, path: &str, body: &str) -> Answer {
    ask("PUT", &(ograph.url() + path), &[], body).await
}

#[actix_rt::test]
async fn a_projection_is_answered_with_its_metadata() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    assert_eq!(ograph.put("task?task_id=7", json!({"status": "todo"})), Ok(Put::Created));
    let answer = get(&ograph, "/projections/task?task_id=7").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["name"], "task");
    assert_eq!(body["params"], json!({"task_id": "7"}));
    assert_eq!(body["value"], json!({"status": "todo"}));
    assert_eq!(body["last_event_id"], 1);
    assert!(body["created_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(get(&ograph, "/projections").await.json()["projections"][0]["name"], "task");
    ograph.stop().await;
}

#[actix_rt::test]
async fn reading_takes_the_token_and_health_takes_none() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    ograph.put("board", json!(1)).unwrap();
    for path in ["/projections/board", "/projections", "/projections/none", "/elsewhere", "/"] {
        for headers in [
            &[][..],
            &[(AUTHORIZATION, "Bearer wrong")],
            &[(AUTHORIZATION, "Bearer ")],
            &[(AUTHORIZATION, "sandbox-token")],
            &[(AUTHORIZATION, "Basic sandbox-token")],
        ] {
            let answer = ask("GET", &(ograph.url() + path), headers, "").await;
            assert_eq!(answer.status, 401, "{path} with {headers:?}");
            assert_eq!(answer.json(), json!({"error": {"message": "Unauthorized"}}));
        }
    }
    assert_eq!(ask("GET", &(ograph.url() + "/health"), &[], "").await.status, 200);
    assert_eq!(get(&ograph, "/elsewhere").await.status, 404);
}

#[actix_rt::test]
async fn anybody_can_set_and_remove_a_projection_by_hand() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    assert_eq!(put(&ograph, "/projections/mine?b=2&a=x%20y", r#"{"x":1}"#).await.status, 201);
    assert_eq!(put(&ograph, "/projections/mine?a=x%20y&b=2", r#"{"x":2}"#).await.status, 204);
    let answer = get(&ograph, "/projections/mine?b=2&a=x%20y").await.json();
    assert_eq!(answer["value"], json!({"x": 2}));
    assert_eq!(answer["params"], json!({"a": "x y", "b": "2"}));
    assert_eq!(answer["last_event_id"], 2);

    let url = ograph.url() + "/projections/mine?a=x%20y&b=2";
    assert_eq!(ask("DELETE", &url, &[], "").await.status, 204);
    assert_eq!(ask("DELETE", &url, &[], "").await.status, 404);
    let gone = get(&ograph, "/projections/mine?b=2&a=x%20y").await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.json()["error"]["message"], "there is no projection mine?a=x%20y&b=2");
    assert_eq!(ograph.remove("mine"), Ok(false));
}

#[actix_rt::test]
async fn a_known_tag_is_answered_without_a_body_until_the_value_changes() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    ograph.put("board", json!({"x": 1})).unwrap();
    let url = ograph.url() + "/projections/board";
    let tag = get(&ograph, "/projections/board").await.etag();
    let with = |known: String| {
        let url = url.clone();
        async move { ask("GET", &url, &[(AUTHORIZATION, "bearer sandbox-token"), (IF_NONE_MATCH, &known)], "").await }
    };
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let answer = with(known.clone()).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known}");
        assert_eq!(answer.etag(), tag);
    }
    assert_eq!(with("\"other\"".to_owned()).await.status, 200);
    ograph.put("board", json!({"x": 2})).unwrap();
    let changed = with(tag.clone()).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.etag(), tag);
}

#[actix_rt::test]
async fn numbers_and_the_order_of_members_are_kept_as_they_were_given() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    let text = r#"{"z":123456789012345678901234567890,"a":1.10,"m":1e+400}"#;
    put(&ograph, "/projections/big", text).await;
    let body = String::from_utf8(get(&ograph, "/projections/big").await.body).unwrap();
    assert!(body.contains(&format!(r#""value":{text}"#)), "{body}");
}

#[actix_rt::test]
async fn what_is_no_value_or_names_no_projection_is_refused() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    for body in ["", "{", "x=1", "<html>", &"[".repeat(100_000)] {
        let answer = put(&ograph, "/projections/mine", body).await;
        assert_eq!(answer.status, 400, "{body:.20}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("the body is no value: "));
    }
    for path in ["/projections/%01", "/projections/a?=1", "/projections/a?x=1&x=2", "/projections/a?x=%FF"] {
        let answer = put(&ograph, path, "1").await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.json()["error"]["message"].is_string());
    }
    let huge = format!("\"{}\"", "x".repeat(crate::sandbox::server::MAX_BODY));
    let answer = put(&ograph, "/projections/mine", &huge).await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"]["message"].is_string());
    assert_eq!(get(&ograph, "/projections").await.json(), json!({"projections": []}));
    assert_eq!(ask("PATCH", &(ograph.url() + "/projections/mine"), &[], "1").await.status, 405);
}

#[actix_rt::test]
async fn a_stopped_stand_in_is_gone() {
    let ograph = OGraphStandIn::start(TOKEN).unwrap();
    let url = ograph.url() + "/health";
    assert_eq!(ask("GET", &url, &[], "").await.status, 200);
    ograph.stop().await;
    assert!(awc::Client::default().get(url).send().await.is_err());
}
