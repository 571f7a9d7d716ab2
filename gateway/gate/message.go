package gate

import (
	"bytes"
	"strings"

	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// Outgoing is what the seller will be asked. It is made from the call when a step first
// wants to change it (Call.Outgoing); a call that nobody changes never has one.
type Outgoing struct {
	Method []byte
	Path   []byte // raw, with the upstream's base path not yet before it
	Query  []byte // raw, without the question mark
	Mark   bool   // there is a question mark even if Query is empty
	// Fields are the caller's headers less those of the connection, those that only the
	// gateway writes, and credentials. What the gateway writes itself is added behind.
	Fields Fields
	// Body takes the place of the caller's if HasBody is set.
	Body    []byte
	HasBody bool
}

// Set gives a header one value, in place of all that it had.
func (o *Outgoing) Set(name, value []byte) {
	o.Drop(name)
	o.Fields = append(o.Fields, Field{Name: name, Value: value})
}

// Drop takes a header out, in every spelling.
func (o *Outgoing) Drop(name []byte) { o.Fields = without(o.Fields, name) }

// Answer is what the caller will get. Until there is one, Status is 0.
type Answer struct {
	Status int
	Reason []byte
	// Fields are the headers that the caller gets, less those that concern the connection
	// and those that only the gateway writes.
	Fields Fields
	// Length of the body: bytes, wire.Chunked or wire.UntilClose. Stated is what the seller
	// said of it, be there a body (as in the answer to a HEAD) or not; -1: nothing.
	Length, Stated int64
	// Body is the body if Whole is set; otherwise it streams from the seller.
	Body  []byte
	Whole bool
	// Most bounds the body: of a longer one the caller gets no more, and the connection is
	// cut so that it does not look complete. 0: no bound.
	Most int64
	// Local says that the gateway, and not the seller, gave the answer: a mock, the cache.
	Local bool

	want int64
}

// Set gives a header one value, in place of all that it had.
func (a *Answer) Set(name, value []byte) {
	a.Drop(name)
	a.Fields = append(a.Fields, Field{Name: name, Value: value})
}

// Add adds a header beside those of the name that there are.
func (a *Answer) Add(name, value []byte) {
	a.Fields = append(a.Fields, Field{Name: name, Value: value})
}

// Drop takes a header out, in every spelling.
func (a *Answer) Drop(name []byte) { a.Fields = without(a.Fields, name) }

// Want asks for the body, whole, if it has at most so many bytes. The phase Whole follows
// if it is to be had.
func (a *Answer) Want(most int64) { a.want = max(a.want, most) }

// Wanted is how many bytes of body were asked for at most; 0: nobody asked.
func (a *Answer) Wanted() int64 { return a.want }

func without(list Fields, name []byte) Fields {
	kept := list[:0]
	for _, f := range list {
		if !wire.Alike(f.Name, name) {
			kept = append(kept, f)
		}
	}
	return kept
}

// Reply answers in the seller's place. The fields and the body must stay as they are until
// the call has ended.
func (c *Call) Reply(status int, fields Fields, body []byte) {
	c.Answer = Answer{Status: status, Fields: append(c.Answer.Fields[:0], fields...), Length: int64(len(body)), Stated: int64(len(body)), Body: body, Whole: true, Local: true}
}

// Replied reports whether the call has an answer that is not the seller's.
func (c *Call) Replied() bool { return c.Answer.Local }

// perConnection are the headers that concern a connection and not the message.
var perConnection = names("Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"TE", "Trailer", "Transfer-Encoding", "Upgrade", "HTTP2-Settings")

// ours are headers of a request that only the gateway writes, or that it has dealt with.
// X-Ca-Signature stays here, since with it the seller could call in the buyer's name.
var ours = names("Host", "Content-Length", "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto",
	"X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Prefix", "X-Real-IP", signer.HeaderRequestID, signer.HeaderSignature,
	signer.HeaderProxySignature, signer.HeaderProxySignatureHeaders, signer.HeaderProxySignatureKey, signer.HeaderProxyTimestamp)

// notTheirs are headers of an answer that a seller cannot set.
var notTheirs = names("Content-Length", signer.HeaderRequestID, signer.HeaderErrorCode, signer.HeaderErrorMessage, signer.HeaderDebugInfo,
	signer.HeaderCharged, signer.HeaderQuotaRemaining, signer.HeaderQuotaExpires)

// set is a list of header names by their length: most names have none of their own.
type set struct{ byLength [64][][]byte }

func names(list ...string) *set {
	s := new(set)
	for _, n := range list {
		s.byLength[len(n)] = append(s.byLength[len(n)], []byte(n))
	}
	return s
}

func (s *set) has(name []byte) bool {
	if len(name) >= len(s.byLength) {
		return false
	}
	for _, n := range s.byLength[len(name)] {
		if wire.Alike(n, name) {
			return true
		}
	}
	return false
}

var (
	nameConnection    = []byte("Connection")
	nameTrace         = []byte("traceparent")
	nameAuthorization = []byte(signer.HeaderAuthorization)
)

// inConnection reports whether a line of Connection names the header.
func inConnection(fields Fields, name []byte) bool {
	for i := range fields {
		if len(fields[i].Name) == len(nameConnection) && wire.Alike(fields[i].Name, nameConnection) && wire.Listed(fields[i].Value, name) {
			return true
		}
	}
	return false
}

// Passes reports whether a header of the caller goes on to the seller: it does not concern
// the connection, is not ours to write, and is no credential that the group keeps back.
func (c *Call) Passes(f Field) bool {
	if perConnection.has(f.Name) || ours.has(f.Name) || inConnection(c.Fields, f.Name) {
		return false
	}
	if len(c.Trace) > 0 && len(f.Name) == len(nameTrace) && wire.Alike(f.Name, nameTrace) {
		return false // ours takes its place
	}
	if !c.Group.KeepAppCode && len(f.Name) == len(nameAuthorization) && wire.Alike(f.Name, nameAuthorization) {
		_, place := signer.AppCode(f.Value, nil, nil)
		return place != signer.InHeader
	}
	return true
}

// KeepAnswerFields takes out of the head of a seller's answer what is not the caller's:
// what concerns the connection and what only the gateway writes.
func KeepAnswerFields(fields Fields) Fields {
	listed := false
	for i := range fields {
		if len(fields[i].Name) == len(nameConnection) && wire.Alike(fields[i].Name, nameConnection) {
			v := fields[i].Value
			listed = listed || !(bytes.EqualFold(v, wordClose) || bytes.EqualFold(v, wordKeepAlive))
		}
	}
	var drop []bool
	if listed { // rare: Connection names other headers
		drop = make([]bool, len(fields))
		for i := range fields {
			drop[i] = inConnection(fields, fields[i].Name)
		}
	}
	kept := fields[:0]
	for i, f := range fields {
		if perConnection.has(f.Name) || notTheirs.has(f.Name) || drop != nil && drop[i] {
			continue
		}
		kept = append(kept, f)
	}
	return kept
}

var (
	wordClose     = []byte("close")
	wordKeepAlive = []byte("keep-alive")
)

// Outgoing is what the seller will be asked, to be changed.
func (c *Call) Outgoing() *Outgoing {
	if c.out.made {
		return &c.out.Outgoing
	}
	o := &c.out.Outgoing
	c.out.made = true
	o.Method, o.Path, o.Query, o.Mark = c.Method, c.Path, c.Query, c.Asked()
	o.Fields = o.Fields[:0]
	for _, f := range c.Fields {
		if c.Passes(f) {
			o.Fields = append(o.Fields, f)
		}
	}
	if c.Route.UpstreamPath != "" {
		o.Path = c.appendUpstreamPath(nil)
	}
	return o
}

// Changed is what the seller will be asked if a step has changed it; nil: what the caller
// sent.
func (c *Call) Changed() *Outgoing {
	if !c.out.made {
		return nil
	}
	return &c.out.Outgoing
}

// Asked reports whether there is a question mark to pass on: one that the caller wrote with
// nothing after it stays, one that had an AppCode only goes with it.
func (c *Call) Asked() bool {
	return len(c.Query) > 0 || bytes.HasSuffix(c.Target, []byte{'?'}) && len(c.Target) == len(c.Path)+1
}

// AppendPath appends the path for the seller, without the upstream's base: the route's
// UpstreamPath with its [names] filled in, or the caller's own, byte for byte.
func (c *Call) AppendPath(dst []byte) []byte {
	if c.Route.UpstreamPath == "" {
		return append(dst, c.Path...)
	}
	return c.appendUpstreamPath(dst)
}

func (c *Call) appendUpstreamPath(dst []byte) []byte {
	for path := c.Route.UpstreamPath; path != ""; {
		open, end := strings.IndexByte(path, '['), -1
		if open >= 0 {
			end = strings.IndexByte(path[open:], ']')
		}
		if end < 0 {
			return append(dst, path...)
		}
		dst = append(dst, path[:open]...)
		name := path[open+1 : open+end]
		for i := range c.Params {
			if c.Params[i].Name == name {
				dst = append(dst, c.Params[i].Value...)
			}
		}
		path = path[open+end+1:]
	}
	return dst
}
