package proxy

import (
	"bytes"
	"net"
	"strconv"

	"github.com/valyala/fasthttp"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// perConnection are the headers that concern a connection and not the message.
var perConnection = names("Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings")

// ours are headers of a request that only the gateway writes, or that it has dealt with.
// X-Ca-Signature stays here, since with it the seller could call in the buyer's name.
var ours = names("Host", "Content-Length", "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Real-IP", signer.HeaderRequestID, signer.HeaderSignature)

// notTheirs are headers of an answer that a seller cannot set.
var notTheirs = names("Content-Length", signer.HeaderRequestID, signer.HeaderErrorCode, signer.HeaderErrorMessage, signer.HeaderDebugInfo)

func names(list ...string) [][]byte {
	var b [][]byte
	for _, s := range list {
		b = append(b, []byte(s))
	}
	return b
}

func among(list [][]byte, name []byte) bool {
	for _, n := range list {
		if gate.Alike(n, name) {
			return true
		}
	}
	return false
}

var (
	connection    = []byte("Connection")
	authorization = []byte(signer.HeaderAuthorization)
	contentLength = []byte("Content-Length")
	chunked       = []byte("Transfer-Encoding")
)

// listed reports whether a value of Connection names a header.
func listed(connection, name []byte) bool {
	for len(connection) > 0 {
		word := connection
		if i := bytes.IndexByte(connection, ','); i >= 0 {
			word, connection = connection[:i], connection[i+1:]
		} else {
			connection = nil
		}
		if gate.Alike(wire.Trim(word), name) {
			return true
		}
	}
	return false
}

func passes(fields gate.Fields, f gate.Field) bool {
	if among(perConnection, f.Name) || among(ours, f.Name) {
		return false
	}
	for i := range fields {
		if gate.Alike(fields[i].Name, connection) && listed(fields[i].Value, f.Name) {
			return false
		}
	}
	return true
}

// write sends the call: the caller's target and headers as they came, less what is not
// for the seller, and after that what we say ourselves.
func write(to *conn, c *gate.Call, u *upstream) error {
	w := to.w
	w.Reset(to)
	line := func(name string, value []byte) {
		w.WriteString(name)
		w.WriteString(": ")
		w.Write(value)
		w.WriteString("\r\n")
	}
	w.Write(c.Request.Method())
	w.WriteByte(' ')
	w.WriteString(u.base)
	if u.pieces == nil {
		w.Write(c.Path)
	}
	for _, p := range u.pieces {
		w.WriteString(p.text)
		for i := range c.Params {
			if p.name != "" && c.Params[i].Name == p.name {
				w.Write(c.Params[i].Value)
			}
		}
	}
	if asked(c) {
		w.WriteByte('?')
		w.Write(c.Query)
	}
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(u.host)
	w.WriteString("\r\n")
	for _, f := range c.Fields {
		if !passes(c.Fields, f) || !c.Group.KeepAppCode && isAppCode(f) {
			continue
		}
		w.Write(f.Name)
		w.WriteString(": ")
		w.Write(f.Value)
		w.WriteString("\r\n")
	}
	if len(c.Body) > 0 || c.Fields.Has(contentLength) || c.Fields.Has(chunked) || wantsLength(c.Request.Method()) {
		var room [20]byte
		line("Content-Length", strconv.AppendInt(room[:0], int64(len(c.Body)), 10))
	}
	if a, ok := c.Request.RemoteAddr().(*net.TCPAddr); ok {
		var room [64]byte
		from, _ := a.AddrPort().Addr().Unmap().WithZone("").AppendText(room[:0])
		line("X-Forwarded-For", from)
	}
	line("X-Forwarded-Host", c.Request.Request.Header.Host())
	proto := "http"
	if c.Request.IsTLS() {
		proto = "https"
	}
	line("X-Forwarded-Proto", []byte(proto))
	var id [36]byte
	line(signer.HeaderRequestID, c.ID.Append(id[:0]))
	w.WriteString("\r\n")
	w.Write(c.Body)
	return w.Flush() // a writer keeps its first error
}

// asked reports whether there is a question mark to pass on: one that the caller wrote with
// nothing after it stays, one that had an AppCode only goes with it.
func asked(c *gate.Call) bool {
	return len(c.Query) > 0 || bytes.HasSuffix(c.Target, []byte{'?'}) && len(c.Target) == len(c.Path)+1
}

func isAppCode(f gate.Field) bool {
	if !gate.Alike(f.Name, authorization) {
		return false
	}
	_, place := signer.AppCode(f.Value, nil, nil)
	return place == signer.InHeader
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

// copyAnswer copies what of the seller's answer is the caller's.
func copyAnswer(to, from *fasthttp.Response) {
	to.Header.DisableNormalizing()
	to.SetStatusCode(from.StatusCode())
	if message := from.Header.StatusMessage(); len(message) > 0 {
		to.Header.SetStatusMessage(message)
	}
	for name, value := range from.Header.All() {
		if among(perConnection, name) || among(notTheirs, name) || listedIn(&from.Header, name) {
			continue
		}
		to.Header.AddBytesKV(name, value)
	}
	if from.SkipBody {
		// The answer to a HEAD has the length of what a GET would bring.
		to.SkipBody = true
		to.Header.SetContentLength(from.Header.ContentLength())
		return
	}
	to.SwapBody(from.SwapBody(nil))
}

func listedIn(h *fasthttp.ResponseHeader, name []byte) bool {
	for n, value := range h.All() {
		if gate.Alike(n, connection) && listed(value, name) {
			return true
		}
	}
	return false
}
