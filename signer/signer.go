// Package signer is the signature scheme of the gateway: AppCodes, the string to sign in
// its canonical form and in the other forms that callers' libraries make of it, the
// signature, and fresh credentials.
//
// It works on bytes and knows no HTTP server: whoever has a request fills a Request. It
// leaves to others which app has a key, which nonces were seen, and whether a route takes
// AppCodes at all.
//
// The rules are those of the wire protocol; section numbers in comments are that page's.
package signer

// Request is a request as it came over the wire. Its bytes belong to the caller and are
// read only until the call that they were given to returns.
type Request struct {
	Method []byte
	// Target is the request target as received: neither decoded nor cleaned.
	Target  []byte
	Headers Headers
	// Body is needed only if ReadsBody says so. A chunked body comes here put together.
	Body []byte
}

// Headers finds the headers of one request.
type Headers interface {
	// Header returns the value of the first header of this name, whatever the case, or
	// nothing if it was not sent. It must not keep or change name, and the value must
	// stay as it is while the request is being checked.
	Header(name []byte) []byte
}

// ReadsBody reports whether a check of the request has to see its body: it is a form,
// whose fields are signed, or it has a digest.
func (r *Request) ReadsBody() bool {
	return isForm(r.header(nameContentType)) || len(r.header(nameContentMD5)) > 0
}

// header is the value without outer blanks. An empty header counts as absent throughout:
// some HTTP stacks drop one on the way, so the two must not differ.
func (r *Request) header(name []byte) []byte {
	return trim(r.Headers.Header(name))
}

// path and query are the parts of the target around the first question mark.
func (r *Request) path() []byte {
	path, _ := cut(r.Target, '?')
	return path
}

func (r *Request) query() []byte {
	_, query := cut(r.Target, '?')
	return query
}
