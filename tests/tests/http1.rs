//! HTTP/1.1 through the engine: every way to frame a message arrives as it was sent.

use anyhow::Result;
use weir_tests::protocol::{Command, Dial, Request};
use weir_tests::server::HTTP;
use weir_tests::shop::STORE4;
use weir_tests::{Mesh, Session, Shop, pattern};

const MIB_64: u64 = 64 << 20;

/// A shop whose buyer may send any request.
fn open_shop() -> Result<Shop> {
    let shop = Shop::open()?;
    grant_all(&shop.mesh)?;
    Ok(shop)
}

fn grant_all(mesh: &Mesh) -> Result<()> {
    mesh.grant_http("buyer", "store", "/.*")
}

fn store() -> Dial {
    Dial::to(STORE4, HTTP)
}

#[test]
fn sixty_four_mebibytes_arrive_whole_both_ways() -> Result<()> {
    let shop = open_shop()?;
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let expected = pattern::sum(MIB_64);
    let before = agent.memory_kib()?;
    for request in [
        Request::new("POST", "/up").body(MIB_64),
        Request::new("POST", "/up").body(MIB_64).chunked(),
    ] {
        let seen = buyer.get(&store(), &request)?.seen()?;
        assert_eq!((seen.len, seen.sum), (expected.len, expected.sum), "{request:?}");
    }
    for path in [format!("/bytes/{MIB_64}"), format!("/chunked/{MIB_64}")] {
        let response = buyer.get(&store(), &Request::get(&path))?;
        assert_eq!(
            (response.status, response.len, response.sum),
            (200, expected.len, expected.sum),
            "{path}"
        );
    }
    let grown = agent.memory_kib()?.saturating_sub(before);
    assert!(grown < 16 * 1024, "bodies are streamed: the agent grew by {grown} KiB");
    Ok(())
}

#[test]
fn a_connection_serves_many_requests_of_every_kind_in_turn() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&store())?;
    let sum = pattern::sum(70_000);
    for round in 0..3 {
        let head = buyer.http(conn, &Request::new("HEAD", "/bytes/70000"))?;
        assert_eq!(
            (head.status, head.header("content-length"), head.len),
            (200, Some("70000"), 0),
            "{round}: {head:?}"
        );
        for status in [204, 304, 404] {
            let response = buyer.http(conn, &Request::get(&format!("/status/{status}")))?;
            assert_eq!(
                (response.status, response.len, response.error.as_deref()),
                (status, 0, None)
            );
        }
        let chunked = buyer.http(conn, &Request::get("/chunked/70000"))?;
        assert_eq!((chunked.len, chunked.sum), (sum.len, sum.sum));
        assert_eq!(
            chunked.trailers,
            [("x-sum".to_string(), format!("{:016x}", sum.sum))],
            "trailers pass"
        );
        let posted = buyer
            .http(conn, &Request::new("POST", "/up").body(70_000).chunked())?
            .seen()?;
        assert_eq!((posted.len, posted.sum), (sum.len, sum.sum));
        let seen = buyer
            .http(conn, &Request::get("/a?b=c&d=%20").header("x-test", "yes"))?
            .seen()?;
        assert_eq!(seen.path, "/a?b=c&d=%20");
        assert!(
            seen.headers.contains(&("x-test".to_string(), "yes".to_string())),
            "{seen:?}"
        );
        assert!(
            seen.headers.contains(&("host".to_string(), "store".to_string())),
            "{seen:?}"
        );
    }
    Ok(())
}

#[test]
fn a_client_that_expects_100_continue_gets_it() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let request = Request {
        expect: true,
        ..Request::new("POST", "/up").body(50_000)
    };
    let response = buyer.get(&store(), &request)?;
    assert_eq!(
        (response.status, response.interim.as_slice()),
        (200, [100].as_slice()),
        "{response:?}"
    );
    assert_eq!(response.seen()?.sum, pattern::sum(50_000).sum);
    Ok(())
}

#[test]
fn a_refused_request_that_expects_100_continue_gets_403_and_no_100() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let request = Request {
        expect: true,
        ..Request::new("POST", "/admin").body(50_000)
    };
    let response = buyer.get(&store(), &request)?;
    assert_eq!(
        (response.status, response.interim.as_slice()),
        (403, [].as_slice()),
        "{response:?}"
    );
    Ok(())
}

#[test]
fn a_refused_request_with_a_body_does_not_become_the_next_request() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let smuggled = "GET /books/smuggled HTTP/1.1\r\nhost: store\r\n\r\n";
    let text = format!(
        "POST /admin HTTP/1.1\r\nhost: store\r\ncontent-length: {}\r\n\r\n{smuggled}GET /books/next HTTP/1.1\r\n\
         host: store\r\nconnection: close\r\n\r\n",
        smuggled.len()
    );
    let answer = exchange(&mut buyer, &text)?;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(!answer.contains("smuggled"), "{answer}");
    Ok(())
}

#[test]
fn pipelined_requests_are_answered_in_order() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let mut text = "GET /slow/100 HTTP/1.1\r\nhost: store\r\n\r\n".to_string();
    for number in 0..5 {
        text += &format!("GET /page-{number} HTTP/1.1\r\nhost: store\r\n\r\n");
    }
    text += "GET /last HTTP/1.1\r\nhost: store\r\nconnection: close\r\n\r\n";
    let answer = exchange(&mut buyer, &text)?;
    let order = [
        "/slow/100",
        "/page-0",
        "/page-1",
        "/page-2",
        "/page-3",
        "/page-4",
        "/last",
    ];
    let places: Vec<_> = order
        .iter()
        .map(|path| answer.find(&format!("\"path\":\"{path}\"")))
        .collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{places:?} in {answer}"
    );
    Ok(())
}

#[test]
fn an_http_1_0_client_gets_an_answer_and_the_end_of_the_connection() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let answer = exchange(&mut buyer, "GET /chunked/5 HTTP/1.0\r\nhost: store\r\n\r\n")?;
    assert!(answer.contains(" 200 "), "{answer}");
    assert!(
        !answer.to_ascii_lowercase().contains("chunked"),
        "HTTP/1.0 knows no chunks: {answer:?}"
    );
    Ok(())
}

#[test]
fn close_is_passed_on_and_a_closed_upstream_is_not_used_again() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let called = buyer.call(&store(), &Request::get("/close"), 5)?;
    assert!(
        called.responses.len() == 5 && called.responses.iter().all(|response| response.status == 200),
        "{called:?}"
    );
    let answer = exchange(
        &mut buyer,
        "GET /x HTTP/1.1\r\nhost: store\r\nconnection: close\r\n\r\n",
    )?;
    assert!(answer.contains(" 200 "), "{answer}");
    let early = buyer.get(&store(), &Request::new("POST", "/early").body(10))?;
    assert_eq!((early.status, early.body.as_str()), (200, "early"));
    assert_eq!(buyer.get(&store(), &Request::get("/after"))?.status, 200);
    Ok(())
}

#[test]
fn a_client_that_half_closes_behind_its_request_gets_the_answer() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&store())?;
    let text = "GET /slow/200 HTTP/1.1\r\nhost: store\r\n\r\n".to_string();
    buyer.stream(&Command::Send { conn, text })?;
    buyer.run(&Command::ShutdownWrite(conn))?;
    assert!(buyer.text(&Command::ReadLine(conn))?.starts_with("HTTP/1.1 200"));
    Ok(())
}

#[test]
fn doubtful_framing_is_refused_with_400_and_reaches_nobody() -> Result<()> {
    let shop = open_shop()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    for head in [
        "POST /a HTTP/1.1\r\nhost: store\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: store\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: store\r\ncontent-length: +3\r\n\r\n",
        "POST /a HTTP/1.1\r\nhost: store\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost : store\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: store\r\nhost: other\r\n\r\n",
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\nhost: store\n\n",
    ] {
        let answer = exchange(&mut buyer, head)?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer:?}");
    }
    let seen = buyer.get(&store(), &Request::get("/good"))?.seen()?;
    assert_eq!(
        (seen.connection, seen.request),
        (1, 1),
        "the server has seen nothing before"
    );
    Ok(())
}

#[test]
fn connections_to_the_server_are_not_shared_between_clients() -> Result<()> {
    let mut shop = open_shop()?;
    let clerk = shop.mesh.client("clerk")?;
    shop.mesh.grant_http("clerk", "store", "/.*")?;
    let _agent = shop.mesh.agent()?;
    let (mut buyer, mut clerk) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&clerk)?);
    let one = buyer.get(&store(), &Request::get("/"))?.seen()?;
    let two = clerk.get(&store(), &Request::get("/"))?.seen()?;
    let three = buyer.get(&store(), &Request::get("/"))?.seen()?;
    assert_ne!(one.connection, two.connection);
    assert_ne!(two.connection, three.connection);
    assert_eq!(two.request, 1);
    Ok(())
}

/// Sends bytes as they are and reads lines to the end of the connection.
fn exchange(client: &mut Session, text: &str) -> Result<String> {
    let conn = client.must_open(&store())?;
    client.stream(&Command::Send {
        conn,
        text: text.to_string(),
    })?;
    let mut answer = String::new();
    loop {
        let line = match client.text(&Command::ReadLine(conn)) {
            Ok(line) => line,
            // A reset behind a complete answer is how a refusal may end.
            Err(error) if !answer.is_empty() && format!("{error:#}").contains("os error 104") => break,
            Err(error) => return Err(error.context(format!("after {answer:?}, for {text:?}"))),
        };
        if line.is_empty() {
            break;
        }
        answer += &line;
    }
    client.run(&Command::Close(conn))?;
    Ok(answer)
}
