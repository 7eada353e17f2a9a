//! What all Graph answers share: pages and the error envelope.

use serde::Deserialize;

/// One page of a collection.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The entries.
    #[serde(default = "Vec::new")]
    pub value: Vec<T>,
    /// Where the next page is; opaque.
    #[serde(rename = "@odata.nextLink")]
    pub next_link: Option<String>,
    /// Where changes since this listing are to be had; opaque, on the last page of a delta listing.
    #[serde(rename = "@odata.deltaLink")]
    pub delta_link: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ErrorEnvelope {
    #[serde(default)]
    error: ErrorBody,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    inner_error: Option<InnerError>,
}

#[derive(Clone, Debug, Deserialize)]
struct InnerError {
    #[serde(rename = "request-id")]
    request_id: Option<String>,
}

impl ErrorEnvelope {
    pub(crate) fn code(&self) -> &str {
        &self.error.code
    }

    /// The message as it came, for recognising: it is never shown.
    pub(crate) fn message(&self) -> &str {
        &self.error.message
    }

    /// The message on one line, with the id that Microsoft's support asks for: the answer's own, or the one given.
    pub(crate) fn line(&self, request_id: Option<&str>) -> String {
        let mut line: String =
            self.error.message.lines().next().unwrap_or_default().chars().take(300).collect();
        let own = self.error.inner_error.as_ref().and_then(|inner| inner.request_id.as_deref());
        if let Some(id) = own.or(request_id) {
            line.push_str(", request ");
            line.extend(id.chars().filter(|c| !c.is_control()).take(64));
        }
        line
    }
}
