//! Three pods without servers, and what it takes to put one there and to ask it.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use weir_tests::manifests::Service;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Mesh, Script, eventually, exec, pattern};

/// Length of the large file: many reads, and not a multiple of anything.
const LARGE: usize = 20_000_003;

/// A buyer with grants at a store, a thief without, and a folder for the store's files.
pub struct Peers {
    pub mesh: Mesh,
    pub buyer: Pod,
    pub thief: Pod,
    pub store: Pod,
    pub www: PathBuf,
}

impl Peers {
    pub fn new() -> Result<Peers> {
        let mut mesh = Mesh::new()?;
        let (buyer, thief, store) = (mesh.client("buyer")?, mesh.client("thief")?, mesh.client("store")?);
        let www = mesh.world.dir().join("www");
        fs::create_dir_all(www.join("folder"))?;
        let mut large = vec![0; LARGE];
        pattern::fill(&mut large, 0);
        fs::write(www.join("large.bin"), &large)?;
        fs::write(www.join("text.txt"), "The same line again and again.\n".repeat(5000))?;
        fs::write(www.join("empty"), "")?;
        Ok(Peers {
            mesh,
            buyer,
            thief,
            store,
            www,
        })
    }

    /// Everything that is HTTP, for the buyer.
    pub fn http(&self) -> Result<()> {
        let service = Service {
            name: "store",
            ips: &[&STORE4.to_string()],
            selector: &[("app", "store")],
            ports: &[("http", 80, 80), ("http-proxy", 81, 81)],
        };
        self.mesh.manifests.service(&service)?;
        self.mesh.grant_http("buyer", "store", "/")
    }

    /// nginx on port 80 of the store: files, compressed ones in chunks, and uploads.
    pub fn nginx(&self) -> Result<Script> {
        let dir = self.mesh.world.dir();
        let text = format!(
            "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr notice; events {{}}\n\
             http {{ access_log off; gzip on; gzip_min_length 100; types {{ text/plain txt; }} default_type text/plain;\n\
             client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path \
             {dir}/u; scgi_temp_path {dir}/s; client_max_body_size 64m;\n\
             server {{ listen [::]:80 ipv6only=off; root {www}; location / {{ gzip_types text/plain; }}\n\
             location /proxied/ {{ proxy_pass http://127.0.0.1:8080/; proxy_request_buffering off; }}\n\
             location /upload/ {{ dav_methods PUT; create_full_put_path on; }} }}\n\
             server {{ listen 127.0.0.1:8080; root {www}; dav_methods PUT; create_full_put_path on; }} }}\n",
            dir = dir.display(),
            www = self.www.display()
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, text)?;
        let args = ["-e", "stderr", "-c", &file.to_string_lossy()];
        let nginx = Script::start(&self.store, Path::new("/usr/sbin/nginx"), &args)?;
        self.listens(80)?;
        Ok(nginx)
    }

    /// Waits until somebody listens on a port of the store: asked from the store itself, which nobody judges.
    pub fn listens(&self, port: u16) -> Result<()> {
        let probe = format!("exec 3<>/dev/tcp/{}/{port}", self.store.ip4);
        eventually("the server listens", || {
            let mut bash = self.store.command(Path::new("/bin/bash"))?;
            Ok(bash.args(["-c", &probe]).output()?.status.success())
        })?;
        Ok(())
    }

    /// A request by curl: status, headers that don't change by themselves, and the body's digest.
    pub fn curl(&self, pod: &Pod, to: IpAddr, path: &str, args: &[&str]) -> Result<String> {
        let (head, body) = (
            self.mesh.world.dir().join("head"),
            self.mesh.world.dir().join("body.out"),
        );
        fs::write(&body, "")?;
        let mut curl = pod.command(Path::new("/usr/bin/curl"))?;
        curl.args(["-sS", "-m", "30", "-H", "host: store", "-D"])
            .arg(&head)
            .arg("-o")
            .arg(&body);
        curl.args(args).arg(format!("http://{}{path}", bracketed(to)));
        exec::run(&mut curl)?;
        let head = fs::read_to_string(&head)?;
        let lines = head.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !matches!(name.as_str(), "date" | "connection" | "keep-alive")
        });
        // In no order: the engine may write what it has touched last.
        let mut lines: Vec<String> = lines.map(str::to_ascii_lowercase).collect();
        lines.sort();
        let mut sum = pattern::Sum::default();
        // With --head, curl writes the head there.
        if !args.contains(&"--head") {
            sum.add(&fs::read(&body)?);
        }
        Ok(format!("{lines:#?} {sum:?}"))
    }
}

/// An address as URLs have it.
pub fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
