//! Answers that are bent on their way out: listings that repeat, reorder, hold back or stand still, and bodies that are
//! longer or shorter than they should be although nothing shows it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use super::faults::Fault;

const NEXT: &str = "@odata.nextLink";
const END: &str = "@odata.deltaLink";

/// Adds what an earlier page held back.
pub(super) fn deliver_held(held: &mut Vec<Value>, response: &mut Response<Bytes>) {
    if held.is_empty() || response.status() != StatusCode::OK {
        return;
    }
    change(response, |page| {
        if let Some(entries) = page["value"].as_array_mut() {
            entries.append(held);
        }
    });
}

/// Does to a page what the fault says; others than those of listings do nothing here. `url` is where the page was asked for.
pub(super) fn bend(held: &mut Vec<Value>, response: &mut Response<Bytes>, url: &str, fault: Fault) {
    if response.status() != StatusCode::OK {
        return;
    }
    change(response, |page| {
        let more = page[NEXT].is_string();
        let Some(entries) = page["value"].as_array_mut() else { return };
        match fault {
            Fault::RepeatEntries => entries.extend(entries.clone()),
            Fault::ReverseEntries => {
                entries.reverse();
                if more {
                    held.extend(entries.split_off(entries.len() / 2));
                }
            }
            Fault::EmptyPage => {
                entries.clear();
                point_at(page, url);
            }
            Fault::RepeatPage => point_at(page, url),
            _ => {}
        }
    });
}

/// Changes the body, and the announced length with it.
pub(super) fn resize(response: &mut Response<Bytes>, how: impl FnOnce(&mut Vec<u8>)) {
    let mut body = response.body().to_vec();
    how(&mut body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = body.into();
}

fn point_at(page: &mut Value, url: &str) {
    if let Some(page) = page.as_object_mut() {
        page.remove(END);
        page.insert(NEXT.to_owned(), json!(url));
    }
}

fn change(response: &mut Response<Bytes>, how: impl FnOnce(&mut Value)) {
    if let Ok(mut page) = serde_json::from_slice::<Value>(response.body()) {
        how(&mut page);
        resize(response, |body| *body = page.to_string().into_bytes());
    }
}
