//! TLS that workloads bring: bytes to us.

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Client, Ended, Server};

/// A ClientHello for `store.shop`, in one record.
fn hello() -> Vec<u8> {
    let name = b"store.shop";
    let length = |bytes: usize| (bytes as u16).to_be_bytes();
    let mut names = vec![0];
    names.extend(length(name.len()));
    names.extend(name);
    let mut extension = vec![0, 0];
    extension.extend(length(names.len() + 2));
    extension.extend(length(names.len()));
    extension.extend(names);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(length(extension.len()));
    body.extend(extension);
    let mut message = vec![1, 0];
    message.extend(length(body.len()));
    message.extend(body);
    let mut record = vec![22, 3, 1];
    record.extend(length(message.len()));
    record.extend(message);
    record
}

/// Tells how many bytes came before the client closed.
fn counting(mesh: &Mesh) -> Server {
    Server::start(mesh.address(2, 8080), |_, mut client: Client| {
        let all = client.rest();
        client.send(format!("{} {}", all.len(), u8::from(all.starts_with(&hello()))));
    })
}

#[test]
fn a_client_hello_in_pieces_is_passed_on_as_it_comes_and_known_as_tls() {
    let mesh = Mesh::new(TCP);
    counting(&mesh);
    let hello = hello();
    for cut in [1, 5, 6, 40, hello.len() - 1] {
        let mut buyer = mesh.buyer();
        buyer.send(&hello[..cut]);
        std::thread::sleep(std::time::Duration::from_millis(120));
        buyer.send(&hello[cut..]).send("and more");
        buyer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        let expected = format!("{} 1", hello.len() + 8);
        assert_eq!(String::from_utf8(buyer.rest()).unwrap(), expected, "cut at {cut}");
    }
    assert_eq!(mesh.stats().tls_relayed, 5);
}

#[test]
fn other_bytes_are_not_taken_for_tls() {
    let mesh = Mesh::new(TCP);
    counting(&mesh);
    let mut cut = hello();
    cut.truncate(30);
    for bytes in [
        b"\x16\x03\x01\x00\x00".to_vec(),
        b"EHLO".to_vec(),
        cut,
        vec![22; 20_000],
        Vec::new(),
    ] {
        let mut buyer = mesh.buyer();
        buyer.send(&bytes).stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(buyer.rest(), format!("{} 0", bytes.len()).as_bytes());
    }
    assert_eq!(mesh.stats().tls_relayed, 0);
}

#[test]
fn tls_is_refused_where_only_http_is_granted() {
    let mesh = Mesh::new(HTTP);
    let store = counting(&mesh);
    assert_eq!(mesh.buyer().send(hello()).ended(), Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "not_http");
    assert_eq!(store.accepted(), 0);
}
