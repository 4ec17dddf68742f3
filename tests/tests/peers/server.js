// Node's http: files, and uploads that are answered with their digest. Arguments: the folder.
const http = require("http"), fs = require("fs"), crypto = require("crypto");
const folder = process.argv[process.argv.length - 1];
http.createServer((request, response) => {
  if (request.method === "POST") {
    const hash = crypto.createHash("sha256");
    let length = 0;
    request.on("data", (piece) => { hash.update(piece); length += piece.length; });
    request.on("end", () => {
      for (const byte of `${length} ${hash.digest("hex")}\n`) response.write(byte);
      response.end();
    });
    return;
  }
  const file = folder + request.url;
  if (!fs.existsSync(file)) return response.writeHead(404, { "content-length": 0 }).end();
  response.writeHead(200, { "content-length": fs.statSync(file).size });
  if (request.method === "HEAD") return response.end();
  fs.createReadStream(file).pipe(response);
}).listen(80, "::");
