"""Valid messages to begin from. Each is a whole one, and together they use every rule that the readers have."""

REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET /orders/42?full=1&sort=%2Fname HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n"
    b"User-Agent: test/1.0 (x; y)\r\n"
    b"Accept-Language: de, en;q=0.5\r\nCookie: a=1; b=2\r\n\r\n",
    b"HEAD /a/./b/../c%2f%7Ed HTTP/1.1\r\nHost: [::1]:443\r\nConnection: keep-alive\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\nAccess-Control-Request-Method: PUT\r\n\r\n",
    b"GET http://b.example/x?y HTTP/1.1\r\nHost: a.example\r\nVia: 1.0 fred\r\n\r\n",
    b"POST /in HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello world",
    b"PUT /in/7 HTTP/1.1\r\nhost:a.example\r\ncontent-length:0\r\nExpect: 100-continue\r\n\r\n",
    b"POST /in HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Sum\r\n\r\n"
    b'5\r\nhello\r\n6;name=value;q="a b"\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n',
    b"PATCH /in HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: Chunked\r\nAuthorization: Bearer abc.def.ghi\r\n\r\n"
    b"00a\r\n0123456789\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
    b"DELETE /in/7 HTTP/1.0\r\nConnection: keep-alive\r\nX-Custom:\r\nX-Custom: \t two \r\n\r\n",
    b"POST /in HTTP/1.0\r\nHost: a.example\r\nContent-Length: 3\r\nX-Forwarded-For: 203.0.113.9\r\n\r\nabc",
    b"GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, X-Hop\r\nUpgrade: websocket\r\nX-Hop: 1\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET /keyed HTTP/1.1\r\nHost: a.example\r\nX-API-Key: mgw_live_abc\r\nX-Forwarded-Proto: https\r\n"
    b"Forwarded: for=192.0.2.1\r\nX-Request-Id: r-1\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    b"PROPFIND /dav/ HTTP/1.1\r\nHost: a.example\r\nDepth: 1\r\nX-Latin: caf\xe9\r\nx_forwarded_for: 1.2.3.4\r\n\r\n",
)

ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n"
    b"Date: Tue, 24 Nov 2026 01:33:00 GMT\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: x/1\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding:Chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"3;a=b\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\nKeep-Alive: timeout=5\r\n\r\nok",
    b"HTTP/1.0 200\r\nX-Empty:\r\n\r\nuntil the end",
    b'HTTP/1.1 204 No Content\r\nETag: "x"\r\n\r\n',
    b'HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: "x"\r\n\r\n',
    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pP\r\n\r\nframes",
    b"HTTP/1.1 503 caf\xe9 ferm\xe9\r\nRetry-After: 3\r\nContent-Length: 4\r\nConnection: X-Hop\r\n"
    b"X-Hop: 1\r\n\r\nbusy",
)

# What attackers put into heads, and what readers are known to differ on. Each is a line without its end.
LINES = (
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: 5, 5",
    b"Content-Length: +5",
    b"Content-Length: 0x5",
    b"Content-Length: 18446744073709551617",
    b"Content-Length : 5",
    b"content_length: 5",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding : chunked",
    b"transfer_encoding: chunked",
    b"Transfer-Encoding",
    b"Host: b.example",
    b"Host: ",
    b"Host",
    b"Host: b.example/x",
    b"Host: b@c",
    b"Connection: close",
    b"Connection: Host, Content-Length, Transfer-Encoding",
    b"Connection: X-Forwarded-For, X-API-Key, Cookie",
    b"Connection: keep-alive, close",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"X-Forwarded-For: 127.0.0.1",
    b"X-Forwarded_For: 127.0.0.1",
    b"X-API-Key: mgw_live_zzz",
    b"Authorization: Basic eDp5",
    b" folded: yes",
    b"\tfolded",
    b": no name",
    b"User-Agent",
    b"Max-Forwards: 3",
    b"Max-Forwards: 0",
    b"Accept",
    b"ETag",
    b"Name With Space: x",
    b"X: a\x00b",
    b"X: a\rb",
    b"X: a\nTransfer-Encoding: chunked",
    b"X: \xff\xfe",
    b"",
)

# Octets that stand for something somewhere in a message.
OCTETS = b'\x00\t\n\x0b\x0c\r \x1f"#%&,-./0159:;=?@AFZ[\\]_`afz{|}\x7f\x80\x85\xa0\xff'
