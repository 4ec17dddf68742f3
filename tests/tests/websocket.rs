//! WebSocket between real clients and servers (Python's `websockets`): judged by the request that asks, and ended with
//! what allows it.

use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::HTTP;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Mesh, Script, eventually, smi};

/// Echoes, says its name when asked to, and tells how connections begin and end.
const SERVER: &str = r#"
import asyncio, sys, websockets
async def serve(ws):
    print("open", ws.path, flush=True)
    try:
        async for message in ws:
            if message == "who":
                await ws.send(sys.argv[1])
            elif message == "bye":
                await ws.close(4001, "as asked")
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    print("closed", ws.path, ws.close_code, flush=True)
async def main():
    async with websockets.serve(serve, None, 80, max_size=1 << 24, ping_interval=None):
        print("listening", flush=True)
        await asyncio.Future()
asyncio.run(main())
"#;

/// Obeys lines: `open NAME PATH`, `send NAME TEXT`, `large NAME BYTES`, `close NAME CODE`. Tells what comes of each.
const CLIENT: &str = r#"
import asyncio, sys, websockets
host, known = sys.argv[1], {}
async def listen(name, ws):
    try:
        async for message in ws:
            print("got", name, message if isinstance(message, str) else len(message), flush=True)
    except websockets.ConnectionClosed:
        pass
    print("ended", name, ws.close_code, ws.close_reason, flush=True)
async def do(line):
    word, name, rest = (line.split(" ", 2) + ["", ""])[:3]
    if word == "open":
        try:
            ws = await websockets.connect(f"ws://{host}{rest}", max_size=1 << 24, ping_interval=None, compression=None, open_timeout=5)
        except websockets.InvalidStatusCode as error:
            return print("refused", name, error.status_code, flush=True)
        except Exception as error:
            return print("failed", name, type(error).__name__, error, flush=True)
        known[name] = ws
        asyncio.create_task(listen(name, ws))
        print("opened", name, ws.subprotocol, flush=True)
    elif word == "send":
        await known[name].send(rest)
    elif word == "large":
        await known[name].send(bytes(int(rest)))
    elif word == "close":
        await known[name].close(int(rest))
async def main():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().strip():
        try:
            await do(line)
        except Exception as error:
            print("error", line, type(error).__name__, flush=True)
asyncio.run(main())
"#;

/// A buyer who may open `/chat` at the store, and a store that takes WebSockets.
struct Chat {
    mesh: Mesh,
    buyer: Pod,
    store: Pod,
    server: Script,
}

fn server(pod: &Pod) -> Result<Script> {
    let server = Script::python(pod, SERVER, &[&pod.name])?;
    server.hear("listening")?;
    Ok(server)
}

impl Chat {
    fn open() -> Result<Chat> {
        let mut mesh = Mesh::new()?;
        let (buyer, store) = (mesh.client("buyer")?, mesh.client("store")?);
        let server = server(&store)?;
        mesh.service("store", "store", &[&STORE4.to_string()])?;
        mesh.grant_http("buyer", "store", "/chat")?;
        Ok(Chat {
            mesh,
            buyer,
            store,
            server,
        })
    }

    fn client(&self) -> Result<Script> {
        Script::python(&self.buyer, CLIENT, &[&STORE4.to_string()])
    }
}

/// Sends and hears the same.
fn echo(client: &mut Script, name: &str, text: &str) -> Result<()> {
    client.say(&format!("send {name} {text}"))?;
    client.hear(&format!("got {name} {text}")).map(drop)
}

#[test]
fn a_websocket_is_opened_and_closed_by_either_side() -> Result<()> {
    let chat = Chat::open()?;
    let agent = chat.mesh.agent()?;
    let mut client = chat.client()?;
    for name in ["one", "two"] {
        client.say(&format!("open {name} /chat/{name}"))?;
        client.hear(&format!("opened {name}"))?;
        chat.server.hear(&format!("open /chat/{name}"))?;
        echo(&mut client, name, "hello")?;
        client.say(&format!("large {name} 3000000"))?;
        client.hear(&format!("got {name} 3000000"))?;
    }
    client.say("send one bye")?;
    client.hear("ended one 4001 as asked")?;
    chat.server.hear("closed /chat/one 4001")?;
    client.say("close two 4002")?;
    client.hear("ended two 4002")?;
    chat.server.hear("closed /chat/two 4002")?;
    let metrics = agent.metrics()?;
    assert_eq!(metrics.sum("weir_engine_upgraded_total", &[]), 2.0);
    assert!(metrics.sum("weir_engine_bytes_from_servers_total", &[]) > 6_000_000.0);
    Ok(())
}

#[test]
fn a_path_that_is_not_granted_is_refused_with_403() -> Result<()> {
    let chat = Chat::open()?;
    let _agent = chat.mesh.agent()?;
    let mut client = chat.client()?;
    client.say("open one /admin")?;
    client.hear("refused one 403")?;
    client.say("open two /chat")?;
    client.hear("opened two")?;
    assert!(!chat.server.said().iter().any(|line| line.contains("/admin")));
    Ok(())
}

#[test]
fn a_websocket_ends_with_its_grant_and_others_stay() -> Result<()> {
    let chat = Chat::open()?;
    chat.mesh.grant_http("buyer", "store", "/(chat|news)")?;
    let _agent = chat.mesh.agent()?;
    let mut client = chat.client()?;
    for name in ["chat", "news"] {
        client.say(&format!("open {name} /{name}"))?;
        client.hear(&format!("opened {name}"))?;
    }
    for round in 0..5 {
        chat.mesh.grant_tcp(&format!("somebody-{round}"), "nobody", &[])?;
        echo(&mut client, "chat", &format!("round-{round}"))?;
    }
    chat.mesh.grant_http("buyer", "store", "/news")?;
    // 1006: without a closing handshake.
    client.hear("ended chat 1006")?;
    chat.server.hear("closed /chat 1006")?;
    echo(&mut client, "news", "still")?;
    client.say("open again /chat")?;
    client.hear("refused again 403")?;
    chat.mesh.grant_http("buyer", "store", "/(chat|news)")?;
    eventually("the chat is back", || {
        client.say("open back /chat")?;
        let line = client.hear(" back ")?;
        Ok(line.starts_with("opened"))
    })?;
    Ok(())
}

#[test]
fn a_websocket_from_another_node_ends_with_its_grant() -> Result<()> {
    let chat = Chat::open()?;
    let remote = chat.mesh.world.remote("node-b")?;
    let far = chat.mesh.world.remote_pod(&remote, "far")?;
    chat.mesh.declare(&far, "shop", "buyer")?;
    let _agent = chat.mesh.agent()?;
    let mut client = Script::python(&far, CLIENT, &[&chat.store.v4().to_string()])?;
    client.say("open far /chat")?;
    client.hear("opened far")?;
    echo(&mut client, "far", "hello")?;
    client.say("open no /admin")?;
    client.hear("refused no 403")?;
    chat.mesh.grant_http("buyer", "store", "/other")?;
    client.hear("ended far 1006")?;
    Ok(())
}

#[test]
fn websockets_are_split_one_by_one() -> Result<()> {
    let mut chat = Chat::open()?;
    let next = chat.mesh.client("store-next")?;
    let _next = server(&next)?;
    for (service, app) in [("store-v1", "store"), ("store-v2", "store-next")] {
        chat.mesh.service(service, app, &[])?;
    }
    let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", "for-buyer", &[])];
    let target = smi::target("http-next", "store-next", &["buyer"], rules);
    chat.mesh.manifests.write("http-next", &target)?;
    let split = smi::split("store", "store", &[("store-v1", 50), ("store-v2", 50)]);
    chat.mesh.manifests.write("split", &split)?;
    let _agent = chat.mesh.agent_with(&["--threads", "1"])?;
    let mut client = chat.client()?;
    let mut seen = Vec::new();
    for number in 0..10 {
        client.say(&format!("open {number} /chat"))?;
        client.hear(&format!("opened {number}"))?;
        client.say(&format!("send {number} who"))?;
        let line = client.hear(&format!("got {number} "))?;
        seen.push(line.rsplit(' ').next().context("no name")?.to_owned());
    }
    seen.sort();
    assert_eq!(seen.iter().filter(|name| *name == "store").count(), 5, "{seen:?}");
    // All weight to one: what is open stays where it is.
    let split = smi::split("store", "store", &[("store-v1", 0), ("store-v2", 1)]);
    chat.mesh.manifests.write("split", &split)?;
    eventually("new ones go to the other", || {
        client.say("open new /chat")?;
        client.hear("opened new")?;
        client.say("send new who")?;
        Ok(client.hear("got new ")?.ends_with("store-next"))
    })?;
    for number in 0..10 {
        echo(&mut client, &number.to_string(), "still")?;
    }
    Ok(())
}

#[test]
fn a_websocket_that_says_nothing_stays_and_http_goes_on_beside_it() -> Result<()> {
    let chat = Chat::open()?;
    let _agent = chat.mesh.agent()?;
    let mut client = chat.client()?;
    client.say("open quiet /chat")?;
    client.hear("opened quiet")?;
    let mut session = chat.mesh.session(&chat.buyer)?;
    // The server answers what is no WebSocket with 426, and closes.
    let response = session.get(&Dial::to(STORE4, HTTP), &Request::get("/chat"))?;
    assert_eq!(response.status, 426);
    std::thread::sleep(Duration::from_secs(3));
    echo(&mut client, "quiet", "hello")
}
