//! The OpenAPI document, made of the table of calls and the types that they answer.

use std::sync::LazyLock;

use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::routes::{self, Access, CALLS, Call, Content};

static DOCUMENT: LazyLock<Value> = LazyLock::new(make);

/// The document.
pub(super) fn document() -> &'static Value {
    &DOCUMENT
}

fn make() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for call in &CALLS {
        paths.insert(call.path.to_owned(), json!({ call.method: operation(call, &mut generator) }));
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ograph-dispatcher control",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shows and steers a running ograph-dispatcher. Times are RFC 3339 in UTC, durations \
                            milliseconds. `control.json` in the state folder holds address and token.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "hookKey": {"type": "apiKey", "in": "query", "name": "key"},
            },
        },
    })
}

fn operation(call: &Call, generator: &mut SchemaGenerator) -> Value {
    let content = match &call.answer {
        Content::Json(schema) => json!({"application/json": {"schema": schema(generator)}}),
        Content::Text(media) => json!({ *media: {} }),
    };
    let mut responses = Map::new();
    responses.insert(call.status.to_string(), json!({"description": "All is well.", "content": content}));
    let general = [(401, "the token is missing or wrong"), (421, "the Host is not this server")];
    let general = general.iter().filter(|(status, _)| *status != 401 || call.access != Access::Everybody);
    let too_large = (413, "the body is too large");
    let too_large = call.request.is_some().then_some(&too_large);
    for (status, meaning) in general.chain(too_large).chain(call.errors) {
        let schema = routes::problem_schema(generator);
        let content = json!({"application/problem+json": {"schema": schema}});
        responses.insert(status.to_string(), json!({"description": meaning, "content": content}));
    }
    let mut operation = json!({
        "operationId": operation_id(call),
        "summary": call.summary,
        "security": match call.access {
            Access::Everybody => json!([]),
            Access::Token => json!([{"token": []}]),
            Access::Hook => json!([{"token": []}, {"hookKey": []}]),
        },
        "responses": responses,
    });
    if let Some(schema) = call.request {
        operation["requestBody"] = json!({
            "required": call.access == Access::Hook,
            "content": {"application/json": {"schema": schema(generator)}},
        });
    }
    if call.path == routes::DELIVERIES {
        let schema = json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 50});
        operation["parameters"] = json!([{"name": "limit", "in": "query", "schema": schema}]);
    }
    if call.path == routes::EVENTS {
        let parameter = json!({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}});
        operation["parameters"] = json!([parameter]);
    }
    operation
}

/// `getV1Status`
fn operation_id(call: &Call) -> String {
    let words = call.path.split(['/', '.']).filter(|word| !word.is_empty());
    let mut id = call.method.to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        id.push_str(&first.to_ascii_uppercase());
        id.push_str(rest);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_described_with_its_own_id() {
        let document = document();
        let mut ids: Vec<_> = CALLS.iter().map(operation_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), CALLS.len());
        for call in &CALLS {
            let operation = &document["paths"][call.path][call.method];
            assert_eq!(operation["summary"], call.summary);
            assert!(operation["responses"]["421"].is_object(), "{}", call.path);
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(document: &Value, value: &Value) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                    }
                    members.values().for_each(|member| check(document, member));
                }
                Value::Array(elements) => elements.iter().for_each(|element| check(document, element)),
                _ => {}
            }
        }
        check(document(), document());
        assert!(document()["components"]["schemas"]["StatusView"].is_object());
    }
}
