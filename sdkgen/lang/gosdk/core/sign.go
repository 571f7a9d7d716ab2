package core

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// sign adds the headers of a signature to a request and returns the string that was
// signed. The fields of a form are signed as parameters; any other body by its digest.
func sign(req *http.Request, target string, body, form []byte, key, secret string, now time.Time, nonce string) string {
	h := req.Header
	h.Set("X-Ca-Key", key)
	h.Set("X-Ca-Nonce", nonce)
	h.Set("X-Ca-Timestamp", strconv.FormatInt(now.UnixMilli(), 10))
	h.Set("X-Ca-Signature-Method", "HmacSHA256")
	if len(body) > 0 && form == nil {
		sum := md5.Sum(body)
		h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	names := []string{"x-ca-key", "x-ca-nonce", "x-ca-signature-method", "x-ca-timestamp"}
	if h.Get("X-Ca-Stage") != "" {
		names = append(names, "x-ca-stage")
	}
	sort.Strings(names)
	h.Set("X-Ca-Signature-Headers", strings.Join(names, ","))

	var b strings.Builder
	b.WriteString(req.Method + "\n")
	for _, name := range []string{"Accept", "Content-MD5", "Content-Type", "Date"} {
		b.WriteString(h.Get(name) + "\n")
	}
	for _, name := range names {
		b.WriteString(name + ":" + h.Get(name) + "\n")
	}
	b.WriteString(canonical(target, string(form)))
	text := b.String()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	h.Set("X-Ca-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return text
}

// canonical is the path with all parameters, sorted by their bytes. Of a name that comes
// more than once the first value counts, and the form goes before the query.
func canonical(target, form string) string {
	path, query, _ := strings.Cut(target, "?")
	values := map[string]string{}
	var names []string
	for _, text := range []string{form, query} {
		for _, piece := range strings.Split(text, "&") {
			name, value, _ := strings.Cut(piece, "=")
			if name == "" {
				continue
			}
			name, value = decode(name), decode(value)
			if _, ok := values[name]; !ok {
				values[name] = value
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	sep := "?"
	for _, name := range names {
		path += sep + name
		if values[name] != "" {
			path += "=" + values[name]
		}
		sep = "&"
	}
	return path
}

// decode undoes our own escaping, which is never broken.
func decode(s string) string {
	if text, err := url.QueryUnescape(s); err == nil {
		return text
	}
	return s
}

// escape leaves only what is unreserved everywhere.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
