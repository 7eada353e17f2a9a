//! `$batch`: up to twenty requests in one, each with an answer of its own.
//!
//! Requests that name no dependency are answered in an order that the client cannot foresee, as in reality.

use backup_core::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Refusal, json, open, put_ids};
use super::rng::Rng;
use super::sign_in::authorise;
use super::tenant::Tenant;

/// Most requests of one batch.
const REQUESTS_MAX: usize = 20;

#[derive(Debug, Deserialize)]
struct Batch {
    requests: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// Whether the request is a batch.
pub(super) fn is_one<B>(request: &Request<B>) -> bool {
    *request.method() == Method::POST && matches!(request.uri().path(), "/v1.0/$batch" | "/v1.0/%24batch")
}

/// Answers a batch: `answer` is asked once for each request in it.
pub(super) fn serve<W>(
    world: &mut W,
    tenant: impl Fn(&mut W) -> &mut Tenant,
    request: &Request<Bytes>,
    now: Timestamp,
    mut answer: impl FnMut(&mut W, &Request<Bytes>) -> Response<Bytes>,
) -> Response<Bytes> {
    let of = tenant(world);
    of.advance_to(now);
    open(of, request);
    let seed = of.answers;
    let graph = of.hosts.graph.clone();
    let steps = match authorise(of, request, of.now()).and_then(|_| steps(request)) {
        Ok(steps) => steps,
        Err(refusal) => return refusal.into_response(of),
    };
    let sequential = steps.iter().any(|step| !step.depends_on.is_empty());
    let mut failed: Vec<&str> = Vec::new();
    let mut responses = Vec::new();
    for step in &steps {
        let response = if step.depends_on.iter().any(|id| failed.contains(&id.as_str())) {
            let message = "The request was not made because one that it depends on failed.";
            Refusal::new(424, "FailedDependency", message).into_response(tenant(world))
        } else {
            match inner(step, &graph, request) {
                Ok(inner) => answer(world, &inner),
                Err(refusal) => refusal.into_response(tenant(world)),
            }
        };
        if response.status().as_u16() >= 400 {
            failed.push(&step.id);
        }
        responses.push(response_json(&step.id, &response));
    }
    if !sequential {
        let mut rng = Rng::new(seed);
        for last in (1..responses.len()).rev() {
            let other = usize::try_from(rng.below(last as u64 + 1)).unwrap_or(0);
            responses.swap(last, other);
        }
    }
    let mut outer = json(200, &json!({ "responses": responses }));
    put_ids(tenant(world), &mut outer);
    outer
}

fn steps(request: &Request<Bytes>) -> Result<Vec<Step>, Refusal> {
    let invalid = |message| Refusal::new(400, "BadRequest", message);
    let batch: Batch =
        serde_json::from_slice(request.body()).map_err(|_| invalid("Invalid batch payload format."))?;
    let steps = batch.requests;
    if steps.len() > REQUESTS_MAX {
        return Err(invalid("Number of batch request steps exceeds the maximum value of 20."));
    }
    if steps.is_empty() {
        return Err(invalid("Invalid batch payload format."));
    }
    let ids: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
    if ids.iter().enumerate().any(|(index, id)| ids.iter().take(index).any(|before| before == id)) {
        return Err(invalid("The ids of the requests in a batch must be unique."));
    }
    // Either none depends on another, or each on the one before it, or all that do on the same one.
    let before = std::iter::once(None).chain(steps.iter().map(|step| Some(step.id.as_str())));
    let serial = steps.iter().zip(before).all(|(step, before)| match (before, step.depends_on.as_slice()) {
        (None, []) => true,
        (Some(before), [id]) => id == before,
        _ => false,
    });
    let mut named: Vec<&String> = steps.iter().flat_map(|step| &step.depends_on).collect();
    named.sort();
    named.dedup();
    let parallel = named.is_empty();
    let same = named.len() == 1 && named.iter().all(|name| ids.contains(&name.as_str()));
    if !(parallel || serial || same) {
        return Err(invalid("The dependencies of the requests are not supported."));
    }
    Ok(steps)
}

fn inner(step: &Step, graph: &str, outer: &Request<Bytes>) -> Result<Request<Bytes>, Refusal> {
    let invalid = || Refusal::new(400, "BadRequest", "Invalid batch payload format.");
    let url = step.url.trim_start_matches('/');
    let method: Method = step.method.to_uppercase().parse().map_err(|_| invalid())?;
    let mut request = Request::builder().method(method).uri(format!("{graph}/v1.0/{url}"));
    let mut json_body = false;
    for (name, value) in &step.headers {
        let value = value.as_str().ok_or_else(invalid)?;
        json_body |= name.eq_ignore_ascii_case("content-type") && value.starts_with("application/json");
        let name: HeaderName = name.parse().map_err(|_| invalid())?;
        request = request.header(name, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    let has_type = request.headers_ref().is_some_and(|headers| headers.contains_key(header::CONTENT_TYPE));
    let body = match &step.body {
        Value::Null => Bytes::new(),
        _ if !has_type => {
            let message = "Write request id has a body but no Content-Type header.";
            return Err(Refusal::new(400, "BadRequest", message));
        }
        body if json_body => body.to_string().into(),
        Value::String(text) => STANDARD.decode(text).map_err(|_| invalid())?.into(),
        _ => return Err(invalid()),
    };
    let mut request = request.body(body).map_err(|_| invalid())?;
    if let Some(token) = outer.headers().get(header::AUTHORIZATION) {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    Ok(request)
}

fn response_json(id: &str, response: &Response<Bytes>) -> Value {
    let mut headers = Map::new();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH {
            headers.insert(titled(name.as_str()), json!(value.to_str().unwrap_or_default()));
        }
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut answer = json!({ "id": id, "status": response.status().as_u16(), "headers": headers });
    if response.body().is_empty() {
        return answer;
    }
    let parsed = serde_json::from_slice::<Value>(response.body());
    answer["body"] = match (kind.is_some_and(|kind| kind.starts_with("application/json")), parsed) {
        (true, Ok(body)) => body,
        _ => json!(STANDARD.encode(response.body())),
    };
    answer
}

/// `retry-after` as `Retry-After`.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{rest}", first.to_uppercase())
    });
    words.collect::<Vec<_>>().join("-")
}
