package proxy

import (
	"net/netip"
	"strconv"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// appendHead appends the head that the seller gets: the caller's target and headers as they
// came, less what is not for the seller, and after that what we say ourselves. length is
// the body's: bytes, or wire.Chunked.
func appendHead(dst []byte, c *gate.Call, t *target, length int64) []byte {
	out := c.Changed()
	method := c.Method
	if out != nil {
		method = out.Method
	}
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = appendTarget(dst, c, t)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, t.host...)
	dst = append(dst, "\r\n"...)
	if out != nil {
		for i := range out.Fields {
			dst = out.Fields[i].Append(dst)
		}
	} else {
		for i := range c.Fields {
			if c.Passes(c.Fields[i]) {
				dst = c.Fields[i].Append(dst)
			}
		}
	}
	if c.Upgrade != nil {
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(append(dst, c.Upgrade...), "\r\n"...)
	}
	switch {
	case length == wire.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || c.Framed || wantsLength(method):
		dst = append(dst, "Content-Length: "...)
		dst = append(strconv.AppendInt(dst, length, 10), "\r\n"...)
	}
	return appendOurs(dst, c)
}

func appendTarget(dst []byte, c *gate.Call, t *target) []byte {
	dst = append(dst, t.base...)
	if out := c.Changed(); out != nil {
		dst = append(dst, out.Path...)
		if out.Mark || len(out.Query) > 0 {
			dst = append(append(dst, '?'), out.Query...)
		}
		return dst
	}
	dst = c.AppendPath(dst)
	if c.Asked() {
		dst = append(append(dst, '?'), c.Query...)
	}
	return dst
}

// appendOurs appends what the gateway says of the caller, and the end of the head.
func appendOurs(dst []byte, c *gate.Call) []byte {
	dst = append(dst, "X-Forwarded-For: "...)
	dst = appendAddress(dst, c.From)
	if c.Peer != c.From {
		dst = appendAddress(append(dst, ", "...), c.Peer)
	}
	dst = append(dst, "\r\nX-Forwarded-Host: "...)
	dst = append(dst, c.Host...)
	if c.TLS {
		dst = append(dst, "\r\nX-Forwarded-Proto: https\r\n"+signer.HeaderRequestID+": "...)
	} else {
		dst = append(dst, "\r\nX-Forwarded-Proto: http\r\n"+signer.HeaderRequestID+": "...)
	}
	dst = append(c.ID.Append(dst), "\r\n"...)
	if len(c.Trace) > 0 {
		dst = append(append(append(dst, "traceparent: "...), c.Trace...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendAddress(dst []byte, a netip.Addr) []byte {
	if !a.IsValid() {
		return append(dst, "unknown"...)
	}
	return a.Unmap().WithZone("").AppendTo(dst)
}

// wantsLength reports whether a request of this method says how long it is even if it is
// empty.
func wantsLength(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}
