//! The UDP server: one socket for all peers, which says whom it answers.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::thread;

use weir_tests::protocol::Echo;

/// Answers every datagram in a thread of its own.
pub fn start(name: &str, address: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    let name = name.to_owned();
    thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        loop {
            let (length, peer) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                // An answer that could not be delivered, or a socket that somebody ended: the next one counts.
                Err(_) => continue,
            };
            let echo = Echo {
                name: name.clone(),
                peer,
                text: String::from_utf8_lossy(&buffer[..length]).into_owned(),
            };
            if let Ok(text) = serde_json::to_vec(&echo) {
                let _ = socket.send_to(&text, peer);
            }
        }
    });
    Ok(())
}
