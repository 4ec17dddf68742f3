# Eight requests over one connection, a line for each. Arguments: the address.
import hashlib, http.client, sys

try:
    known = http.client.HTTPConnection(sys.argv[-1], 80, timeout=30)
    known.connect()
except ConnectionRefusedError:
    sys.exit("ECONNREFUSED")
first = known.sock
data = bytes(range(256)) * 4000

def pieces():
    for at in range(0, len(data), 10007):
        yield data[at : at + 10007]

for method, path, body, chunked in [
    ("GET", "/large.bin", None, False),
    ("GET", "/text.txt", None, False),
    ("HEAD", "/text.txt", None, False),
    ("GET", "/nothing-here", None, False),
    ("POST", "/a", data, False),
    ("POST", "/b", pieces(), True),
    ("POST", "/c", b"", False),
    ("GET", "/empty", None, False),
]:
    known.request(method, path, body, encode_chunked=chunked, headers={"transfer-encoding": "chunked"} if chunked else {})
    response = known.getresponse()
    body = response.read()
    digest = "" if response.status == 404 else hashlib.sha256(body).hexdigest()
    print(method, path, response.status, response.headers.get("content-length") if method == "HEAD" else "", digest)
    if method == "POST":
        print(end="") if b" " in body else sys.exit(f"not a digest: {body}")
    if response.status < 300 and known.sock is not first:
        sys.exit("the connection was not kept")
    if known.sock is None:
        known.connect()
        first = known.sock
