// Package sign signs what the seller gets, so that he knows that a call came through the
// gateway (后端签名密钥). examples/seller-weather/verify is how a seller looks.
//
// The setting:
//
//	{
//	  "keys": [
//	    {"id": "2026-11", "secret": "sec_a"},
//	    {"id": "2027-01", "secret": "sec_b", "from": "2027-01-01T00:00:00Z"}
//	  ],
//	  "headers": ["X-City"],     signed beside the gateway's own
//	  "digest": true             the body is signed, too, for which it is read whole; left out,
//	                             it is signed only if it was read anyway
//	}
//
// Of several keys the one is used whose time came last; a key without a time holds from the
// beginning. So a seller learns a new key first, then the gateway uses it, and then he
// forgets the old one.
//
// The seller gets X-Ca-Proxy-Signature, X-Ca-Proxy-Signature-Headers (what is signed),
// X-Ca-Proxy-Signature-Secret-Key (the id) and X-Ca-Proxy-Timestamp; signer.ForwardSignature
// says what the signature is. The path that is signed is the one below the base address.
package sign

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

func init() { gate.Register(gate.Info{ID: "sign", Place: 1000, New: newFilter}) }

// MinSecret is how many bytes a key has at least.
const MinSecret = 16

// MaxBody is how much of a body is read to sign it; the route's own limit is below that.
const MaxBody = 64 << 20

type filter struct {
	keys []key // the latest first
	list []byte
}

type key struct {
	id, secret []byte
	from       time.Time
}

// digester is a filter that reads bodies.
type digester struct{ *filter }

// ReadsBody is how much of a body it wants to see.
func (d digester) ReadsBody() int64 { return MaxBody }

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Keys []struct {
			ID     string           `json:"id"`
			Secret control.SecretID `json:"secret"`
			From   time.Time        `json:"from"`
		} `json:"keys"`
		Headers []string `json:"headers"`
		Digest  bool     `json:"digest"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	f := new(filter)
	begins := false
	for _, k := range with.Keys {
		if k.ID == "" || len(k.ID) > 64 || !wire.IsToken([]byte(k.ID)) {
			return nil, fmt.Errorf("the id %q of a key is letters, digits and hyphens, at most 64", k.ID)
		}
		if slices.ContainsFunc(f.keys, func(o key) bool { return string(o.id) == k.ID }) {
			return nil, fmt.Errorf("two keys have the id %q", k.ID)
		}
		secret, err := env.Secret(k.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("key %q: a secret has at least %d bytes", k.ID, MinSecret)
		}
		begins = begins || k.From.IsZero()
		f.keys = append(f.keys, key{[]byte(k.ID), bytes.Clone(secret), k.From})
	}
	if !begins {
		return nil, errors.New(`it needs "keys", and one of them without "from"`)
	}
	// Of keys of one time the one that is written first goes first.
	slices.SortStableFunc(f.keys, func(a, b key) int { return b.from.Compare(a.from) })
	names := []string{signer.HeaderProxySignatureKey, signer.HeaderProxyTimestamp, signer.HeaderRequestID}
	for _, h := range with.Headers {
		if gate.Reserved([]byte(h)) {
			return nil, fmt.Errorf("the header %q is no name, or changes on its way to the seller", h)
		}
		names = append(names, h)
	}
	f.list = []byte(strings.ToLower(strings.Join(names, ",")))
	if with.Digest {
		return digester{f}, nil
	}
	return f, nil
}

// work is what signing needs, and keeps.
type work struct {
	verifier signer.Verifier
	call     *gate.Call
	fields   *gate.Fields
	target   []byte
}

var works = sync.Pool{New: func() any { return new(work) }}

var (
	nameSignature  = []byte(signer.HeaderProxySignature)
	nameHeaders    = []byte(signer.HeaderProxySignatureHeaders)
	nameKey        = []byte(signer.HeaderProxySignatureKey)
	nameTimestamp  = []byte(signer.HeaderProxyTimestamp)
	nameRequestID  = []byte(signer.HeaderRequestID)
	nameContentMD5 = []byte(signer.HeaderContentMD5)
)

// Header is a header as the seller will see it: what the filters made, and the request ID,
// which the proxy writes.
func (w *work) Header(name []byte) []byte {
	if wire.Alike(name, nameRequestID) {
		return w.call.ID.Append(nil)
	}
	return w.fields.Header(name)
}

// Send signs.
func (f *filter) Send(c *gate.Call) error {
	if c.Replied() {
		return nil
	}
	o := c.Outgoing()
	k := &f.keys[len(f.keys)-1]
	for i := range f.keys {
		if !c.At.Before(f.keys[i].from) {
			k = &f.keys[i]
			break
		}
	}
	room := make([]byte, 0, 128) // what the headers have must live as long as the call
	cut := func(from int) []byte { return room[from:len(room):len(room)] }
	room = strconv.AppendInt(room, c.At.UnixMilli(), 10)
	o.Set(nameTimestamp, cut(0))
	o.Set(nameKey, k.id)
	o.Set(nameHeaders, f.list)
	body, known := c.Body, c.BodyRead
	if o.HasBody {
		body, known = o.Body, true
	}
	if known && len(body) > 0 {
		sum := md5.Sum(body)
		from := len(room)
		room = base64.StdEncoding.AppendEncode(room, sum[:])
		o.Set(nameContentMD5, cut(from))
	}
	w := works.Get().(*work)
	w.call, w.fields = c, &o.Fields
	w.target = append(w.target[:0], o.Path...)
	if o.Mark {
		w.target = append(append(w.target, '?'), o.Query...)
	}
	request := signer.Request{Method: o.Method, Target: w.target, Headers: w}
	from := len(room)
	room = append(room, w.verifier.ForwardSignature(&request, k.secret)...)
	o.Set(nameSignature, cut(from))
	w.call, w.fields = nil, nil
	works.Put(w)
	return nil
}
