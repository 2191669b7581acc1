//! The control plane, as far as flash 1.21 and runpod 2.0 need it: endpoints are made, listed, deleted.
//!
//! An endpoint made here is another name for the one that the worker serves.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::client;
use super::log::Recorded;
use super::reply::Reply;
use super::server::Shared;
use super::state::State;

pub(super) fn answer(shared: &Shared, path: &[&str], request: &Recorded) -> Reply {
    let mut state = shared.lock();
    match (&request.method, path) {
        (_, ["graphql"]) => graphql(&mut state, &request.json()),
        (&Method::GET, ["v2", "serverless"]) => {
            let endpoints: Vec<_> = state.endpoints.iter().map(|(id, name)| endpoint(id, name)).collect();
            Reply::json(&json!({ "endpoints": endpoints, "pagination": { "hasNextPage": false } }))
        }
        (&Method::POST, ["v2", "serverless"]) => {
            let body = request.json();
            Reply::json(&make(&mut state, body.get("name")))
        }
        (_, ["v2", "serverless", _, "workers", _, "logs"]) => {
            Reply::text(StatusCode::OK, "text/event-stream", ": no logs here\n\n")
        }
        (_, ["v2", "serverless", _, "workers"]) => {
            let workers: Vec<_> = state.workers.keys().map(|id| json!({ "id": id })).collect();
            Reply::json(&json!({ "summary": client::workers(&state), "workers": workers }))
        }
        (&Method::DELETE, ["v2", "serverless", id]) => {
            state.endpoints.remove(*id);
            Reply::empty(StatusCode::NO_CONTENT)
        }
        (_, ["v2", "serverless", id]) => match state.endpoints.get(*id) {
            Some(name) => Reply::json(&endpoint(id, name)),
            None => Reply::error(StatusCode::NOT_FOUND, "endpoint not found"),
        },
        (_, ["hapi", "v1", "pod", _, "logs"]) => Reply::json(&json!({ "container": [], "system": [] })),
        (_, ["rest", "networkvolumes"]) => Reply::json(&json!([])),
        _ => Reply::error(StatusCode::NOT_FOUND, "no such path"),
    }
}

fn endpoint(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "templateId": format!("template-{id}"), "aiKey": "client-key" })
}

fn make(state: &mut State, name: Option<&Value>) -> Value {
    let name = name.and_then(Value::as_str).unwrap_or("unnamed").to_owned();
    let id = format!("{}-{}", state.settings.endpoint, state.endpoints.len());
    let made = endpoint(&id, &name);
    state.endpoints.insert(id, name);
    made
}

/// Queries are told apart by the field they name; nobody here has another in its text.
fn graphql(state: &mut State, body: &Value) -> Reply {
    let query = body.get("query").and_then(Value::as_str).unwrap_or_default();
    let input = body.pointer("/variables/input");
    let data = if query.contains("saveEndpoint") {
        let mut made = make(state, input.and_then(|input| input.get("name")));
        // Whatever was asked for is what was made.
        if let (Some(made), Some(input)) = (made.as_object_mut(), input.and_then(Value::as_object)) {
            for (name, value) in input.iter().filter(|(name, _)| *name != "template") {
                made.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        json!({ "saveEndpoint": made })
    } else if query.contains("deleteEndpoint") {
        if let Some(id) = body.pointer("/variables/id").and_then(Value::as_str) {
            state.endpoints.remove(id);
        }
        json!({ "deleteEndpoint": null })
    } else if query.contains("saveTemplate") {
        let template = json!({ "id": "template", "name": "template", "imageName": "image", "env": [] });
        json!({ "saveTemplate": template })
    } else if query.contains("secrets") {
        json!({ "myself": { "secrets": [] } })
    } else if query.contains("endpoint") {
        let endpoints: Vec<_> = state.endpoints.iter().map(|(id, name)| endpoint(id, name)).collect();
        json!({ "myself": { "endpoint": endpoints.first(), "endpoints": endpoints } })
    } else {
        return Reply::json(&json!({ "errors": [{ "message": format!("unknown query: {query}") }] }));
    };
    Reply::json(&json!({ "data": data }))
}
