//! Why a head was refused: a status and a constant reason.

/// A head that is not taken. The connection it came on is closed, and nothing of the message is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{reason} ({status})")]
pub struct HeadError {
    /// The status to answer with: 400, 414, 417, 431, 501 or 505 for a request; always 502 for a response.
    pub status: u16,
    /// A constant, short reason, fit for the answer's body and a log field.
    pub reason: &'static str,
}

impl HeadError {
    pub(crate) const fn bad(reason: &'static str) -> Self {
        HeadError { status: 400, reason }
    }

    pub(crate) const fn with(status: u16, reason: &'static str) -> Self {
        HeadError { status, reason }
    }

    /// The same fault in a response.
    pub(super) const fn of_response(self) -> Self {
        HeadError {
            status: 502,
            reason: self.reason,
        }
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => HeadError::bad("malformed header name"),
            httparse::Error::HeaderValue => HeadError::bad("malformed header value"),
            httparse::Error::NewLine => HeadError::bad("malformed line end"),
            httparse::Error::Status => HeadError::bad("malformed status line"),
            httparse::Error::Token => HeadError::bad("malformed request line"),
            httparse::Error::TooManyHeaders => HeadError::with(431, "too many header fields"),
            httparse::Error::Version => HeadError::bad("malformed protocol version"),
        }
    }
}

impl From<crate::path::PathError> for HeadError {
    fn from(error: crate::path::PathError) -> Self {
        HeadError::bad(error.reason())
    }
}
