package signer

// ForwardSignature is the signature with which the gateway tells a seller that a request
// came through it: Base64 of the HMAC-SHA256 of the canonical string to sign, with the
// headers that X-Ca-Proxy-Signature-Headers names. The target is the one below the seller's
// base address. A body, be it a form, is covered by its Content-MD5 alone. The result is
// overwritten by the verifier's next use; compare it in constant time.
func (v *Verifier) ForwardSignature(r *Request, secret []byte) []byte {
	v.forward.of = r.Headers
	own := Request{Method: r.Method, Target: r.Target, Headers: &v.forward}
	text := v.StringToSign(&own, Canonical)
	sum := v.mac.sign(secret, text, false)
	v.builder.trim()
	v.forward.of = nil
	return sum
}

// forwarded are headers in which the list of signed ones is that of the gateway.
type forwarded struct{ of Headers }

// Header is one of them.
func (f *forwarded) Header(name []byte) []byte {
	if equalFold(name, nameSignatureHeaders) {
		name = nameProxyHeaders
	}
	return f.of.Header(name)
}
