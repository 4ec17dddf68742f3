// Eight requests over one connection, a line for each. Arguments: the address.
const http = require("http"), crypto = require("crypto");
const host = process.argv[process.argv.length - 1];
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const data = Buffer.alloc(1000000, "0123456789abcdef");
function ask(method, path, body, pieces) {
  return new Promise((done, fail) => {
    const headers = body && !pieces ? { "content-length": body.length } : {};
    const request = http.request({ host, port: 80, method, path, agent, headers, family: host.includes(":") ? 6 : 4 }, (response) => {
      const hash = crypto.createHash("sha256");
      response.on("data", (piece) => hash.update(piece));
      response.on("error", fail);
      response.on("end", () => {
        const length = method === "HEAD" ? response.headers["content-length"] : "";
        console.log(method, path, response.statusCode, length, response.statusCode === 404 ? "" : hash.digest("hex"));
        done();
      });
    });
    request.on("error", fail);
    if (pieces) for (let at = 0; at < body.length; at += 10007) request.write(body.subarray(at, at + 10007));
    else if (body) request.write(body);
    request.end();
  });
}
(async () => {
  await ask("GET", "/large.bin");
  await ask("GET", "/text.txt");
  await ask("HEAD", "/text.txt");
  await ask("GET", "/nothing-here");
  await ask("POST", "/a", data);
  await ask("POST", "/b", data, true);
  await ask("POST", "/c", Buffer.alloc(0));
  await ask("GET", "/empty");
  agent.destroy();
})().catch((error) => { console.error(error.code, error.message); process.exit(1); });
