package signer

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is a request that is to be signed, on the caller's side.
type Call struct {
	Method string
	URL    string // absolute, or just a path with a query
	// Header is what the call will send. Accept should be there: many HTTP libraries add
	// one of their own, which spoils the signature.
	Header map[string]string
	Body   []byte

	Key, Secret string
	Stage       string // empty: not sent, which means RELEASE
	SHA1        bool
	Now         time.Time
	Nonce       string   // empty: no nonce
	Also        []string // more headers to sign
}

// Signed is what makes a call a signed one.
type Signed struct {
	// Header is to be added to the headers of the call.
	Header map[string]string
	// StringToSign is shown to people whose signature is refused.
	StringToSign string
}

// Sign signs a call in the canonical form: key, nonce, timestamp, method and stage are
// signed, and a body that is not a form gets a digest.
func Sign(c Call) (Signed, error) {
	if c.Key == "" || c.Secret == "" {
		return Signed{}, errors.New("signer: a call needs AppKey and AppSecret")
	}
	target, err := url.Parse(c.URL)
	if err != nil {
		return Signed{}, err
	}
	add := map[string]string{
		HeaderKey:             c.Key,
		HeaderSignatureMethod: HmacSHA256,
		HeaderTimestamp:       strconv.FormatInt(c.Now.UnixMilli(), 10),
	}
	if c.SHA1 {
		add[HeaderSignatureMethod] = HmacSHA1
	}
	if c.Nonce != "" {
		add[HeaderNonce] = c.Nonce
	}
	if c.Stage != "" {
		add[HeaderStage] = c.Stage
	}
	names := slices.Clone(c.Also)
	for name := range add {
		names = append(names, name)
	}
	for i, name := range names {
		names[i] = strings.ToLower(name)
	}
	slices.Sort(names)
	add[HeaderSignatureHeaders] = strings.Join(names, ",")

	headers := callHeaders{c.Header, add}
	if len(c.Body) > 0 && !isForm(headers.Header(nameContentType)) {
		sum := md5.Sum(c.Body)
		add[HeaderContentMD5] = base64.StdEncoding.EncodeToString(sum[:])
	}
	var v Verifier
	r := Request{Method: []byte(c.Method), Target: []byte(target.RequestURI()), Headers: headers, Body: c.Body}
	text := v.StringToSign(&r, Canonical)
	add[HeaderSignature] = string(v.mac.sign([]byte(c.Secret), text, c.SHA1))
	return Signed{Header: add, StringToSign: string(text)}, nil
}

// callHeaders are headers in maps, of which a later one goes before an earlier one.
type callHeaders []map[string]string

func (h callHeaders) Header(name []byte) []byte {
	for _, m := range slices.Backward(h) {
		for n, value := range m {
			if equalFold([]byte(n), name) {
				return []byte(value)
			}
		}
	}
	return nil
}
