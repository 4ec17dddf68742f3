//! Where fuzzing begins: the corpus, and the manifests of the golden folders.

use std::fs;
use std::io;
use std::path::Path;

use weir_corpus::Case;

/// Writes seeds for the target `name` into `dir`; how many.
///
/// # Errors
/// The folder can't be written.
pub fn write(name: &str, dir: &Path) -> io::Result<usize> {
    fs::create_dir_all(dir)?;
    let seeds = of(name);
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(dir.join(format!("seed-{number:04}")), seed)?;
    }
    Ok(seeds.len())
}

/// The seeds of a target.
pub fn of(name: &str) -> Vec<Vec<u8>> {
    let cases = weir_corpus::all();
    let short = cases.iter().filter(|case| case.sends.len() + case.answers.len() < 2000);
    match name {
        "head" => short
            .flat_map(|case| [case.sends.to_vec(), case.answers.to_vec()])
            .collect(),
        "body" => short.flat_map(bodies).collect(),
        "path" => short.filter_map(|case| target(&case.sends)).collect(),
        "detect" => {
            let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            short.map(|case| case.sends.to_vec()).chain([tls, preface]).collect()
        }
        "sni" => (1..=64).map(client_hello).collect(),
        "manifests" => golden(),
        _ => short.map(|case| case.sends.to_vec()).collect(),
    }
}

fn bodies(case: &Case) -> Vec<Vec<u8>> {
    let body = |message: &[u8]| {
        let end = message.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let chunked = message[..end].to_ascii_lowercase();
        let kind = if chunked.windows(7).any(|window| window == b"chunked") {
            2
        } else {
            0
        };
        Some([&[3, kind], &message[end..]].concat())
    };
    [&case.sends[..], &case.answers[..]]
        .into_iter()
        .filter_map(body)
        .collect()
}

/// The second word of the first line.
fn target(request: &[u8]) -> Option<Vec<u8>> {
    let target = request.split(|&byte| byte == b' ').nth(1)?;
    target.starts_with(b"/").then(|| target.to_vec())
}

/// Every `in.yaml` of the golden folders.
fn golden() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/core/tests");
    let mut seeds = Vec::new();
    for folder in ["convert", "golden"] {
        let Ok(cases) = fs::read_dir(root.join(folder)) else {
            continue;
        };
        let mut cases: Vec<_> = cases.flatten().map(|case| case.path()).collect();
        cases.sort();
        for case in cases {
            let Ok(files) = fs::read_dir(case) else { continue };
            let yaml = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "yaml");
            seeds.extend(
                files
                    .flatten()
                    .map(|file| file.path())
                    .filter(yaml)
                    .filter_map(|file| fs::read(file).ok()),
            );
        }
    }
    seeds
}

/// A ClientHello (RFC 8446 section 4.1.2) for some server, in records of at most so many bytes.
fn client_hello(most: usize) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let name = format!("Store-{most}.shop.svc");
    let names = vector(&[&[0][..], &vector(name.as_bytes())].concat());
    let extensions = [&[0, 10][..], &vector(&[0, 2, 0, 29]), &[0, 0], &vector(&names)].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[2, 1, 2],
        &vector(&[0x13, 0x01]),
        &[1, 0],
        &vector(&extensions),
    ]
    .concat();
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]][..], &body].concat();
    let record = |part: &[u8]| [&[22, 3, 1][..], &vector(part)].concat();
    message.chunks(most).flat_map(record).collect()
}
