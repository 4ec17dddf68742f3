//! The head of a stream's request: judged, and what is kept of it until its stream ends.
//!
//! Bias: judged and forwarded are the same value. The canonical target and the fields that travel are written into
//! [`Asked`]; policy looks at it, now and after each change of the snapshot, and the server gets a copy.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use weir_core::http1::{Field, HeadError};
use weir_core::http2::{self, Fault, Passage};
use weir_core::matcher::RequestView;
use weir_core::{grpc, http1};

use super::super::outcome::Protocol;

/// A request in canonical form.
#[derive(Debug)]
pub(super) struct Asked {
    pub method: Method,
    /// Scheme, authority, canonical path and query.
    uri: Uri,
    fields: HeaderMap,
    pub shape: Shape,
}

/// What an answer has to know of its request, however malformed that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// It is a gRPC call.
    pub grpc: bool,
    /// It is a HEAD: the answer has no body.
    pub head: bool,
}

impl Shape {
    /// The shape of this request.
    pub fn of(parts: &Parts) -> Shape {
        let kind = parts.headers.get(CONTENT_TYPE);
        Shape {
            grpc: parts.method == Method::POST && kind.is_some_and(|kind| grpc::is_grpc(kind.as_bytes())),
            head: parts.method == Method::HEAD,
        }
    }

    /// What is spoken.
    pub fn protocol(self) -> Protocol {
        match self.grpc {
            true => Protocol::Grpc,
            false => Protocol::Http2,
        }
    }
}

impl Asked {
    /// Judges the form of a request. `bodiless`: its head is all of it.
    ///
    /// # Errors
    /// What becomes of it otherwise.
    pub fn of(parts: Parts, bodiless: bool, limits: &http1::Limits) -> Result<Asked, Fault> {
        let shape = Shape::of(&parts);
        let Parts {
            method,
            uri,
            headers: mut fields,
            ..
        } = parts;
        if fields.len() > limits.headers {
            let (status, reason) = (431, "too many header fields");
            return Err(HeadError { status, reason }.into());
        }
        let uri = canonical(&method, uri, &fields)?;
        travel(&mut fields, http2::request_field)?;
        fields.remove(HOST);
        if bodiless {
            fields.remove(EXPECT);
        }
        Ok(Asked {
            method,
            uri,
            fields,
            shape,
        })
    }

    /// The request for the next hop.
    pub fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.fields.clone();
        request
    }

    /// It may be sent again although a server may have seen it (RFC 9110 section 9.2.2); its body is another matter.
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }
}

impl RequestView for Asked {
    fn method(&self) -> &[u8] {
        self.method.as_str().as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.uri.path().as_bytes()
    }

    fn authority(&self) -> Option<&[u8]> {
        self.uri.authority().map(|authority| authority.as_str().as_bytes())
    }

    /// Without what HTTP/1.1 has no end-to-end field for either, so that a rule means the same in both.
    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let seen = |name: &HeaderName| *name != CONTENT_LENGTH && *name != EXPECT && *name != TE;
        self.fields
            .iter()
            .filter(move |(name, _)| seen(name))
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    }
}

/// Scheme, one authority and the canonical target; nothing is copied that is canonical already.
fn canonical(method: &Method, uri: Uri, fields: &HeaderMap) -> Result<Uri, Fault> {
    let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let target = http2::request_target(method.as_str(), path.as_bytes())?;
    let rewritten = match &target.path {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(path) => Some(joined(path, target.query)?),
    };
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Fault::Malformed("more than one host"));
    }
    let stated = uri.authority().map(|authority| authority.as_str().as_bytes());
    let authority = http2::authority(stated, host)?;
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(bad("neither http nor https"));
    }
    let written = match stated {
        Some(_) => None,
        None => Some(Authority::try_from(authority).map_err(|_| bad("malformed host"))?),
    };
    if rewritten.is_none() && written.is_none() && uri.scheme().is_some() {
        return Ok(uri);
    }
    let mut parts = uri.into_parts();
    parts.scheme = parts.scheme.or(Some(Scheme::HTTP));
    parts.authority = written.or(parts.authority);
    parts.path_and_query = rewritten.or(parts.path_and_query);
    Uri::from_parts(parts).map_err(|_| bad("malformed target"))
}

fn joined(path: &[u8], query: Option<&[u8]>) -> Result<PathAndQuery, Fault> {
    let mut target = path.to_vec();
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| bad("malformed path"))
}

fn bad(reason: &'static str) -> Fault {
    HeadError { status: 400, reason }.into()
}

/// Takes out the fields that stay behind, and writes `content-length` in its one form.
///
/// # Errors
/// A field that ends the message.
pub(super) fn travel(
    fields: &mut HeaderMap,
    judge: fn(&[u8], &[u8]) -> Result<Passage, Fault>,
) -> Result<Option<u64>, Fault> {
    let mut behind = Vec::new();
    for (name, value) in fields.iter() {
        if judge(name.as_str().as_bytes(), value.as_bytes())? == Passage::Drop {
            behind.push(name.clone());
        }
    }
    for name in behind {
        fields.remove(name);
    }
    let length = http2::content_length(fields.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes))?;
    if let Some(length) = length {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(length)
}
