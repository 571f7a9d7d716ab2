package signer

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

// Window is how far a timestamp may be from the gateway's clock, either way.
const Window = 15 * time.Minute

// Rules are what a route demands of signatures. The zero value but for Now is the
// strictest about the method and the most patient about the form.
type Rules struct {
	Now           time.Time
	Window        time.Duration // 0: Window
	AllowSHA1     bool
	CanonicalOnly bool // only the canonical string to sign counts
}

// Proof is what a right signature has shown.
type Proof struct {
	Nonce     []byte // empty if none was sent; belongs to the request
	Timestamp int64  // milliseconds since 1970; 0 if none was sent
	Form      Form   // the form that matched
}

// IsSigned reports whether a request claims to be signed; if so it is never taken for an
// AppCode request.
func IsSigned(h Headers) bool {
	return len(h.Header(nameKey)) > 0 || len(h.Header(nameSignature)) > 0
}

// Key is the AppKey of a signed request: the first check of section 4.4. The caller looks
// the key up, refuses with UnknownKey, or goes on with Verify.
func Key(h Headers) ([]byte, error) {
	key := trim(h.Header(nameKey))
	if len(key) == 0 {
		return nil, KeyRequired
	}
	return key, nil
}

// Verifier checks signatures. It keeps its buffers from call to call, so that a warm one
// allocates nothing; it is for one goroutine at a time. The zero value is ready.
type Verifier struct {
	builder builder
	mac     mac
	digest  [24]byte // Base64 of an MD5
	forward forwarded
}

// Verify makes the checks 2 to 6 of section 4.4, in that order. What is left to the
// caller is the nonce: to demand it, and to remember it when the signature was right.
// Every error is a *Fault.
func (v *Verifier) Verify(r *Request, secret []byte, rules Rules) (Proof, error) {
	signature := r.header(nameSignature)
	if len(signature) == 0 {
		return Proof{}, SignatureRequired
	}
	weak, err := method(r.header(nameSignatureMethod), rules.AllowSHA1)
	if err != nil {
		return Proof{}, err
	}
	at, err := timestamp(r.header(nameTimestamp), rules)
	if err != nil {
		return Proof{}, err
	}
	if err := v.checkDigest(r); err != nil {
		return Proof{}, err
	}
	form, ok := v.match(r, signature, secret, weak, rules.CanonicalOnly)
	if !ok {
		fault := wrongSignature(v.builder.build(Canonical))
		v.builder.trim()
		return Proof{}, fault
	}
	v.builder.trim()
	return Proof{Nonce: r.header(nameNonce), Timestamp: at, Form: form}, nil
}

// StringToSign is what the request should have signed. It is overwritten by the
// verifier's next use.
func (v *Verifier) StringToSign(r *Request, f Form) []byte {
	v.builder.reset(r)
	return v.builder.build(f)
}

// match finds the form whose signature it is. Every candidate is compared in constant
// time; how many there are depends on the request, not on the secret.
func (v *Verifier) match(r *Request, signature, secret []byte, weak, canonicalOnly bool) (Form, bool) {
	b := &v.builder
	b.reset(r)
	right := func(f Form) bool {
		return subtle.ConstantTimeCompare(v.mac.sign(secret, b.build(f), weak), signature) == 1
	}
	if right(Canonical) {
		return Canonical, true
	}
	if canonicalOnly {
		return Canonical, false
	}
	decoded := b.differs(Canonical)
	raw := decoded
	if decoded&ParamsRaw != 0 {
		raw = b.differs(ParamsRaw)
	}
	for _, f := range others {
		differs := decoded
		if f&ParamsRaw != 0 {
			differs = raw
		}
		if f&^differs == 0 && right(f) {
			return f, true
		}
	}
	return Canonical, false
}

// method reads the signature method, and whether it is the weaker one.
func method(name []byte, allowSHA1 bool) (weak bool, err error) {
	switch string(name) {
	case "", HmacSHA256:
		return false, nil
	case HmacSHA1:
		if !allowSHA1 {
			return false, MethodForbidden
		}
		return true, nil
	}
	return false, MethodUnknown
}

// timestamp reads the caller's clock and compares it with ours.
func timestamp(text []byte, rules Rules) (int64, error) {
	if len(text) == 0 {
		return 0, nil
	}
	var at int64
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, TimestampInvalid
		}
		if at < 1<<50 { // beyond any clock; more digits cannot bring it back
			at = at*10 + int64(c-'0')
		}
	}
	window := rules.Window
	if window == 0 {
		window = Window
	}
	// Whole milliseconds on both sides: the limit itself is still inside.
	if d := rules.Now.UnixMilli() - at; d > window.Milliseconds() || -d > window.Milliseconds() {
		return 0, TimestampExpired
	}
	return at, nil
}

// checkDigest compares the digest with the bytes of the body, form or not.
func (v *Verifier) checkDigest(r *Request) error {
	want := r.header(nameContentMD5)
	if len(want) == 0 {
		return nil
	}
	if len(r.Body) == 0 {
		return DigestWithoutBody
	}
	sum := md5.Sum(r.Body)
	base64.StdEncoding.Encode(v.digest[:], sum[:])
	if subtle.ConstantTimeCompare(v.digest[:], want) != 1 {
		return DigestWrong
	}
	return nil
}
