package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// appendAnswer appends the head of an answer over HTTP/1, without what concerns the
// connection and without the empty line. length is the body's: bytes, wire.Chunked, or
// wire.UntilClose. none says that there is no body, so that the length is the seller's word.
func appendAnswer(dst []byte, c *gate.Call, length int64, none bool) []byte {
	a := &c.Answer
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(a.Status), 10)
	dst = append(dst, ' ')
	if a.Reason != nil || !a.Local {
		dst = append(dst, a.Reason...)
	} else {
		dst = append(dst, http.StatusText(a.Status)...)
	}
	dst = append(dst, "\r\n"...)
	for i := range a.Fields {
		dst = a.Fields[i].Append(dst)
	}
	dst = append(dst, signer.HeaderRequestID+": "...)
	dst = append(c.ID.Append(dst), "\r\n"...)
	switch {
	case none:
		if a.Stated >= 0 && a.Status != http.StatusNoContent && a.Status >= 200 {
			dst = appendLength(dst, a.Stated)
		}
	case length == wire.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case length >= 0:
		dst = appendLength(dst, length)
	}
	return dst
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	return append(strconv.AppendInt(dst, n, 10), "\r\n"...)
}

// The names of headers, as bytes that nobody changes.
var (
	nameCharged     = []byte(signer.HeaderCharged)
	nameRemaining   = []byte(signer.HeaderQuotaRemaining)
	nameExpires     = []byte(signer.HeaderQuotaExpires)
	nameDebugInfo   = []byte(signer.HeaderDebugInfo)
	nameErrorCode   = []byte(signer.HeaderErrorCode)
	nameErrorText   = []byte(signer.HeaderErrorMessage)
	nameRetryAfter  = []byte("Retry-After")
	nameContentType = []byte("Content-Type")
	nameAccept      = []byte("Accept")
	nameAllowOrigin = []byte("Access-Control-Allow-Origin")
	nameExpose      = []byte("Access-Control-Expose-Headers")
	requestMethod   = []byte("Access-Control-Request-Method")
	origin          = []byte("Origin")
	requestMode     = []byte(signer.HeaderRequestMode)

	star          = []byte("*")
	namePolicies  = []byte(gate.HeaderPolicies)
	nameStandings = []byte(gate.HeaderStandings)

	wordDebug   = []byte("debug")
	wordYes     = []byte("1")
	wordNo      = []byte("0")
	problemType = []byte("application/problem+json")
)

// refuse makes a refusal the answer of a call, in place of whatever answer there was.
func refuse(c *gate.Call, r *gate.Refusal) {
	a := &c.Answer
	*a = gate.Answer{Status: r.Status, Fields: a.Fields[:0], Whole: true, Local: true}
	a.Add(nameErrorCode, gate.Bytes(r.Code))
	a.Add(nameErrorText, clean(r.Message))
	if r.After > 0 {
		a.Add(nameRetryAfter, strconv.AppendInt(nil, int64((r.After+time.Second-1)/time.Second), 10))
	}
	if c.Fields.Has(origin) && !c.Origins {
		a.Add(nameAllowOrigin, star)
	}
	if bytes.Contains(c.Fields.Header(nameAccept), problemType) {
		a.Body = problem(c, r)
		a.Add(nameContentType, problemType)
	}
	a.Length = int64(len(a.Body))
	a.Stated = a.Length
}

// problem is a refusal for programs that read RFC 9457. Without their asking it would
// change what the protocol's libraries expect: an empty body.
func problem(c *gate.Call, r *gate.Refusal) []byte {
	text, err := json.Marshal(struct {
		Type     string `json:"type"`
		Title    string `json:"title"`
		Status   int    `json:"status"`
		Code     string `json:"code"`
		Instance string `json:"instance"`
		Retry    int64  `json:"retry_after,omitempty"`
	}{"about:blank", string(clean(r.Message)), r.Status, r.Code, "urn:uuid:" + c.ID.String(), int64((r.After + time.Second - 1) / time.Second)})
	if err != nil {
		return nil // cannot be: texts and numbers
	}
	return text
}

// maxMessage bounds a message, which may show what the caller sent.
const maxMessage = 4 << 10

// clean makes text fit for a header: control characters become '#', other bytes go out as
// they are.
func clean(message string) []byte {
	dirty := len(message) > maxMessage
	for i := 0; i < len(message) && !dirty; i++ {
		dirty = message[i] < 0x20 || message[i] == 0x7F
	}
	if !dirty {
		return gate.Bytes(message)
	}
	b := []byte(message[:min(len(message), maxMessage)])
	for i, c := range b {
		if c < 0x20 || c == 0x7F {
			b[i] = '#'
		}
	}
	return b
}

// finish adds what the gateway says of a call, whoever answered it. The values stand in
// the turn's own room.
func (t *turn) finish() {
	c, a, room := t.c, &t.c.Answer, t.room[:0]
	add := func(name []byte, from int) {
		a.Fields = append(a.Fields, gate.Field{Name: name, Value: room[from:len(room):len(room)]})
	}
	if c.Hold.Held() {
		word := wordNo
		if t.charged {
			word = wordYes
		}
		a.Add(nameCharged, word)
		left := c.Hold.Left
		if !t.charged {
			left++ // the call's own unit is there again
		}
		from := len(room)
		room = strconv.AppendInt(room, left, 10)
		add(nameRemaining, from)
		if c.Hold.Until != 0 {
			from = len(room)
			room = time.UnixMilli(c.Hold.Until).UTC().AppendFormat(room, time.RFC3339)
			add(nameExpires, from)
		}
	}
	if len(c.Limits) > 0 {
		from := len(room)
		if c.Policies != nil {
			a.Add(namePolicies, c.Policies)
		} else {
			room = gate.AppendPolicies(room, c.Limits)
			add(namePolicies, from)
			from = len(room)
		}
		room = gate.AppendStandings(room, c.Limits)
		add(nameStandings, from)
	}
	if bytes.EqualFold(c.Fields.Header(requestMode), wordDebug) {
		from := len(room)
		room = strconv.AppendInt(append(room, `{"ServiceLatency":`...), t.upstream.Milliseconds(), 10)
		room = append(strconv.AppendInt(append(room, `,"TotalLatency":`...), t.at.Sub(t.began).Milliseconds(), 10), '}')
		add(nameDebugInfo, from)
	}
	if c.Fields.Has(origin) && !c.Origins && a.Fields.Has(nameAllowOrigin) {
		a.Add(nameExpose, exposed)
	}
	t.room = room
}

// The names that a page of another origin may read and send; protocol sections 4.1 and 5.
var (
	exposed = []byte(signer.HeaderRequestID + ", " + signer.HeaderErrorCode + ", " + signer.HeaderErrorMessage + ", " +
		signer.HeaderCharged + ", " + signer.HeaderQuotaRemaining + ", " + signer.HeaderQuotaExpires)
	allowed = []byte(signer.HeaderKey + ", " + signer.HeaderSignature + ", " + signer.HeaderSignatureMethod + ", " +
		signer.HeaderSignatureHeaders + ", " + signer.HeaderTimestamp + ", " + signer.HeaderNonce + ", " +
		signer.HeaderContentMD5 + ", " + signer.HeaderStage + ", " + signer.HeaderRequestMode + ", " +
		signer.HeaderVersion + ", CA_VERSION, " + signer.HeaderAuthorization + ", Accept, Content-Type, Date")

	preflightFields = gate.Fields{
		{Name: nameAllowOrigin, Value: star},
		{Name: []byte("Access-Control-Allow-Methods"), Value: []byte("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")},
		{Name: []byte("Access-Control-Allow-Headers"), Value: allowed},
		{Name: []byte("Access-Control-Max-Age"), Value: []byte("86400")},
	}
)

func isPreflight(c *gate.Call) bool {
	return string(c.Method) == "OPTIONS" && c.Fields.Has(origin) && c.Fields.Has(requestMethod)
}
