// Package verify is how a seller finds out that a request came through the gateway: its
// signature is made with a key that only the two know. It is a package to copy; it stands
// on the standard library and souk's signer.
package verify

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/signer"
)

// Verifier checks requests. Keys is needed, all else has defaults.
type Verifier struct {
	// Keys are the keys by their id: the present one, and while they change the next one.
	Keys map[string][]byte
	// Base is the path of the upstream's address, "/v2" of "https://api.example.com/v2": what
	// stands before the signed path.
	Base string
	// Digest refuses bodies that are not signed; set it if the gateway's filter has "digest".
	Digest  bool
	MaxBody int64         // bytes of a body that is read to check its digest; 0: 10 MiB
	Window  time.Duration // between the gateway's clock and ours; 0: five minutes
	Now     func() time.Time
}

// Errors of Check. None says what would have been right.
var (
	ErrNoSignature = errors.New("verify: the request did not come through the gateway")
	ErrKey         = errors.New("verify: it is signed with a key that is not known")
	ErrTime        = errors.New("verify: it was signed too long ago")
	ErrSignature   = errors.New("verify: its signature is wrong")
	ErrDigest      = errors.New("verify: its body is not the one that was signed")
)

// signed are the headers that must be among the signed ones: without them an old request
// could be sent again for ever.
var signed = []string{signer.HeaderProxySignatureKey, signer.HeaderProxyTimestamp, signer.HeaderRequestID}

// Check reports why a request is not one of the gateway's. If it is, its body can still be
// read.
func (v *Verifier) Check(r *http.Request) error {
	signature := r.Header.Get(signer.HeaderProxySignature)
	if signature == "" {
		return ErrNoSignature
	}
	key, ok := v.Keys[r.Header.Get(signer.HeaderProxySignatureKey)]
	if !ok {
		return ErrKey
	}
	for _, name := range signed {
		if !listed(r.Header.Get(signer.HeaderProxySignatureHeaders), name) {
			return ErrSignature
		}
	}
	var check signer.Verifier
	target, ok := strings.CutPrefix(r.RequestURI, v.Base)
	if !ok {
		return ErrSignature
	}
	want := check.ForwardSignature(&signer.Request{Method: []byte(r.Method), Target: []byte(target), Headers: headers(r.Header)}, key)
	if !hmac.Equal(want, []byte(signature)) {
		return ErrSignature
	}
	at, err := strconv.ParseInt(r.Header.Get(signer.HeaderProxyTimestamp), 10, 64)
	if age := v.now().Sub(time.UnixMilli(at)).Abs(); err != nil || age > v.window() {
		return ErrTime
	}
	return v.digest(r)
}

// digest compares the body with the digest that was signed.
func (v *Verifier) digest(r *http.Request) error {
	want := r.Header.Get(signer.HeaderContentMD5)
	if want == "" && !v.Digest {
		return nil
	}
	most := v.MaxBody
	if most == 0 {
		most = 10 << 20
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
	if err != nil || int64(len(body)) > most {
		return ErrDigest
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 && want == "" {
		return nil
	}
	sum := md5.Sum(body)
	if base64.StdEncoding.EncodeToString(sum[:]) != want {
		return ErrDigest
	}
	return nil
}

// Handler lets only requests of the gateway through.
func (v *Verifier) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := v.Check(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (v *Verifier) now() time.Time {
	if v.Now == nil {
		return time.Now()
	}
	return v.Now()
}

func (v *Verifier) window() time.Duration {
	if v.Window == 0 {
		return 5 * time.Minute
	}
	return v.Window
}

func listed(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(one), name) {
			return true
		}
	}
	return false
}

// headers are a request's headers as the signer asks for them.
type headers http.Header

// Header is the first value of a name.
func (h headers) Header(name []byte) []byte { return []byte(http.Header(h).Get(string(name))) }
