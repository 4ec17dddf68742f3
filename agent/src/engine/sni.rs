//! The server name of a TLS connection that is relayed, noted in passing.
//!
//! Bias: nobody waits for it. Bytes go on as they come; this looks at the first ones until the ClientHello is there,
//! and keeps a copy only of one that came in pieces. The name is for logs and numbers: nothing is decided by it.

use weir_core::tls::{self, Hello, MAX_HELLO};

use super::account::Held;
use super::conn::Conn;
use super::core::Core;
use super::outcome::{Ongoing, Protocol};

/// What looks at the first bytes of one relayed connection.
pub(super) struct Sni<'a> {
    core: &'a Core,
    /// Where the name is noted; `None` once that is over.
    told: Option<&'a Ongoing<'a>>,
    seen: Vec<u8>,
    held: Held,
}

impl<'a> Sni<'a> {
    /// Begins at the first byte from the client. Without `told` it looks at nothing.
    pub fn new(core: &'a Core, conn: &Conn, told: Option<&'a Ongoing<'a>>) -> Sni<'a> {
        Sni {
            core,
            told,
            seen: Vec::new(),
            held: Held::new(conn.account.clone()),
        }
    }

    /// Looks at the next bytes of the client.
    pub fn see(&mut self, bytes: &[u8]) {
        if let Some(told) = self.told
            && !bytes.is_empty()
        {
            self.look(told, bytes);
        }
    }

    fn look(&mut self, told: &Ongoing<'_>, bytes: &[u8]) {
        let found = match self.seen.is_empty() {
            true => tls::server_name(bytes),
            false => {
                self.keep(bytes);
                tls::server_name(&self.seen)
            }
        };
        match found {
            Hello::NeedMore if self.seen.is_empty() => return self.keep(bytes),
            Hello::NeedMore => return,
            Hello::Other => {}
            Hello::Nameless => self.is_tls(told),
            Hello::Name(name) => {
                self.is_tls(told);
                told.sni.replace(Some(name.into_boxed_str()));
            }
        }
        self.told = None;
        self.seen = Vec::new();
        self.held.set(0);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_HELLO.saturating_sub(self.seen.len());
        self.seen.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.held.set(self.seen.capacity());
    }

    fn is_tls(&self, told: &Ongoing<'_>) {
        self.core.counters.tls_relayed.one();
        told.protocol.set(Protocol::Tls);
    }
}
