//! curl and wrk against nginx, with and without HAProxy in front of it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use weir_tests::Script;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;

use crate::fixture::{Peers, bracketed};

/// What curl is asked to do: path and arguments.
fn requests(upload: &str) -> Vec<(String, Vec<String>)> {
    let plain: &[(&str, &[&str])] = &[
        ("/text.txt", &[]),
        ("/large.bin", &[]),
        ("/empty", &[]),
        ("/text.txt", &["--head"]),
        ("/text.txt", &["--compressed"]),
        ("/text.txt", &["-H", "accept-encoding: gzip"]),
        ("/large.bin", &["-r", "100-199"]),
        ("/large.bin", &["-r", "19999990-"]),
        ("/large.bin", &["-r", "30000000-"]),
        ("/text.txt", &["-H", "if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT"]),
        ("/text.txt", &["-0"]),
        ("/folder", &[]),
        ("/nothing-here", &[]),
        ("/text.txt", &["-X", "DELETE"]),
        ("/proxied/large.bin", &[]),
    ];
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for (path, args) in plain {
        all.push((path.to_string(), args.iter().map(|arg| arg.to_string()).collect()));
    }
    // With Content-Length and Expect, in chunks, and through a proxy behind the mesh.
    for (path, more) in [
        ("/upload/one", None),
        ("/upload/two", Some("transfer-encoding: chunked")),
        ("/proxied/three", None),
    ] {
        let mut args = vec![
            "-T".to_string(),
            upload.to_string(),
            "-H".into(),
            "expect: 100-continue".into(),
        ];
        more.iter()
            .for_each(|header| args.extend(["-H".to_string(), header.to_string()]));
        all.push((path.to_string(), args));
    }
    all
}

/// An error unless curl could not connect.
fn turned_away(peers: &Peers, to: IpAddr, port: u16) -> Result<()> {
    let mut curl = peers.thief.command(Path::new("/usr/bin/curl"))?;
    let url = format!("http://{}:{port}/text.txt", bracketed(to));
    let output = curl.args(["-sS", "-m", "10", &url]).output()?;
    // 7: could not connect (man curl).
    ensure!(output.status.code() == Some(7), "{output:?}");
    Ok(())
}

#[test]
fn curl_gets_from_nginx_through_the_mesh_what_it_gets_without() -> Result<()> {
    let peers = Peers::new()?;
    let _nginx = peers.nginx()?;
    peers.http()?;
    let upload = peers.www.join("large.bin").to_string_lossy().into_owned();
    let ask = |to: IpAddr| -> Result<Vec<String>> {
        let all = requests(&upload).into_iter().map(|(path, args)| {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            peers
                .curl(&peers.buyer, to, &path, &args)
                .with_context(|| format!("{path} {args:?}"))
        });
        all.collect()
    };
    let uploads = ["upload/one", "upload/two", "three"].map(|file| peers.www.join(file));
    // The first time makes the files (201), the next ones replace them (204).
    ask(peers.store.v4())?;
    let plain = ask(peers.store.v4())?;
    let agent = peers.mesh.agent()?;
    for to in [STORE4, peers.store.v4(), peers.store.v6()] {
        for file in &uploads {
            fs::write(file, "")?;
        }
        let meshed = ask(to)?;
        for ((request, plain), meshed) in requests(&upload).iter().zip(&plain).zip(&meshed) {
            assert_eq!(meshed, plain, "{request:?} to {to}");
        }
        for file in &uploads {
            assert!(
                fs::read(file)? == fs::read(&upload)?,
                "{} arrived changed",
                file.display()
            );
        }
        turned_away(&peers, to, 80)?;
    }
    let requests = agent.metrics()?.sum("weir_engine_requests_total", &[]);
    assert!(
        requests >= 3.0 * plain.len() as f64,
        "only {requests} requests went through the engine"
    );
    Ok(())
}

#[test]
fn haproxy_between_the_mesh_and_nginx_finds_nothing_wrong() -> Result<()> {
    let peers = Peers::new()?;
    let _nginx = peers.nginx()?;
    let file = peers.mesh.world.dir().join("haproxy.cfg");
    fs::write(
        &file,
        "defaults\n mode http\n timeout client 30s\n timeout server 30s\n timeout connect 5s\n\
         listen front\n bind :::81 v4v6\n server nginx 127.0.0.1:80\n",
    )?;
    let _haproxy = Script::start(
        &peers.store,
        Path::new("/usr/sbin/haproxy"),
        &["-db", "-f", &file.to_string_lossy()],
    )?;
    peers.listens(81)?;
    peers.http()?;
    let upload = peers.www.join("large.bin").to_string_lossy().into_owned();
    let front = format!("::{}:81", bracketed(peers.store.v4()));
    let ask = |args: &[&str], path: &str| {
        let args = [args, &["--connect-to", &front]].concat();
        peers
            .curl(&peers.buyer, peers.store.v4(), path, &args)
            .with_context(|| path.to_string())
    };
    let all = || -> Result<Vec<String>> {
        let all = requests(&upload).into_iter().map(|(path, args)| {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ask(&args, &path)
        });
        all.collect()
    };
    all()?;
    let plain = all()?;
    let _agent = peers.mesh.agent()?;
    assert_eq!(all()?, plain);
    turned_away(&peers, STORE4, 81)
}

#[test]
fn wrk_gets_an_answer_to_each_request_and_the_thief_none() -> Result<()> {
    let peers = Peers::new()?;
    let _nginx = peers.nginx()?;
    peers.http()?;
    let agent = peers.mesh.agent()?;
    let wrk = |pod: &Pod, path: &str| -> Result<Output> {
        let mut wrk = pod.command(Path::new("/usr/bin/wrk"))?;
        Ok(wrk
            .args(["-t2", "-c40", "-d2s", &format!("http://{STORE4}{path}")])
            .output()?)
    };
    let output = wrk(&peers.buyer, "/empty")?;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{text}");
    let served = agent.metrics()?.sum("weir_engine_responses_2xx_total", &[]);
    assert!(served > 500.0, "{served} answers: {text}");
    let connects = agent.metrics()?.sum("weir_engine_upstream_connects_total", &[]);
    assert!(
        connects < 200.0,
        "{connects} connections to nginx for {served} requests"
    );
    let output = wrk(&peers.thief, "/empty")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("unable to connect") || text.contains("connect 40"),
        "{text}"
    );
    Ok(())
}
