// Package cors says which pages of other origins may call a route from a browser. A
// preflight is answered here and costs nothing; nobody is authenticated for it (protocol
// section 5).
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "origins":     ["https://shop.example", "https://*.example.com"],   any: ["*"]
//	  "methods":     ["GET", "POST"],        GET, HEAD, POST, PUT, PATCH, DELETE
//	  "headers":     ["X-Trace"],            beside those of the protocol, which are always allowed
//	  "expose":      ["X-Total"],            beside the protocol's, which are always exposed
//	  "credentials": true,                   false; not with any origin
//	  "max_age":     "10m",                  24h
//	  "block":       true                    false: calls of other origins go through, the browser keeps the answer
//	}
package cors

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

func init() { gate.Register(gate.Info{ID: "cors", Place: 200, New: newFilter}) }

type filter struct {
	any         bool
	exact       map[string]bool
	suffixes    []suffix // of "https://*.example.com"
	credentials bool
	block       bool

	methods  []string
	anyNames bool // any header may be sent
	names    []string
	maxAge   []byte
	allow    []byte // Access-Control-Allow-Methods
	headers  []byte // Access-Control-Allow-Headers
	expose   []byte // Access-Control-Expose-Headers
}

// suffix is the end of an origin whose beginning may be any name.
type suffix struct{ scheme, host string }

// The names that the protocol has; sections 4.1 and 5.
var (
	protocolSends = []string{signer.HeaderKey, signer.HeaderSignature, signer.HeaderSignatureMethod, signer.HeaderSignatureHeaders,
		signer.HeaderTimestamp, signer.HeaderNonce, signer.HeaderContentMD5, signer.HeaderStage, signer.HeaderRequestMode,
		signer.HeaderVersion, "CA_VERSION", signer.HeaderAuthorization, "Accept", "Content-Type", "Date"}
	protocolShows  = []string{signer.HeaderRequestID, signer.HeaderErrorCode, signer.HeaderErrorMessage}
	defaultMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
)

var (
	nameOrigin        = []byte("Origin")
	nameVary          = []byte("Vary")
	nameAllowOrigin   = []byte("Access-Control-Allow-Origin")
	nameAllowCreds    = []byte("Access-Control-Allow-Credentials")
	nameAllowMethods  = []byte("Access-Control-Allow-Methods")
	nameAllowHeaders  = []byte("Access-Control-Allow-Headers")
	nameMaxAge        = []byte("Access-Control-Max-Age")
	nameExpose        = []byte("Access-Control-Expose-Headers")
	nameAskedMethod   = []byte("Access-Control-Request-Method")
	nameAskedHeaders  = []byte("Access-Control-Request-Headers")
	valueAny          = []byte("*")
	valueTrue         = []byte("true")
	valuePreflight    = []byte("Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
	namesOfAnswers    = [][]byte{nameAllowOrigin, nameAllowCreds, nameAllowMethods, nameAllowHeaders, nameMaxAge, nameExpose}
	errNoOrigins      = errors.New(`it needs "origins", such as ["https://shop.example"], or ["*"] for any`)
	errAnyCredentials = errors.New(`"credentials" cannot be had with any origin; name the origins`)
)

const (
	methodPreflight = "OPTIONS"
	maxOrigin       = 512 // bytes of an origin that is looked at
	maxOriginInText = 128 // and of one that a refusal shows
	defaultMaxAge   = 24 * time.Hour
)

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Origins     []string         `json:"origins"`
		Methods     []string         `json:"methods"`
		Headers     []string         `json:"headers"`
		Expose      []string         `json:"expose"`
		Credentials bool             `json:"credentials"`
		MaxAge      setting.Duration `json:"max_age"`
		Block       bool             `json:"block"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	f := &filter{exact: map[string]bool{}, credentials: with.Credentials, block: with.Block, methods: with.Methods}
	if len(with.Origins) == 0 {
		return nil, errNoOrigins
	}
	for _, o := range with.Origins {
		if err := f.origin(o); err != nil {
			return nil, err
		}
	}
	if f.any && f.credentials {
		return nil, errAnyCredentials
	}
	if len(f.methods) == 0 {
		f.methods = defaultMethods
	}
	for i, m := range f.methods {
		if !wire.IsToken([]byte(m)) {
			return nil, fmt.Errorf(`"methods": %q is no method`, m)
		}
		f.methods[i] = strings.ToUpper(m)
	}
	for _, list := range [][]string{with.Headers, with.Expose} {
		for _, h := range list {
			if !wire.IsToken([]byte(h)) {
				return nil, fmt.Errorf("%q is no name of a header", h)
			}
		}
	}
	for _, h := range with.Headers {
		f.anyNames = f.anyNames || h == "*" && !f.credentials
	}
	f.names = append(append([]string{}, protocolSends...), with.Headers...)
	f.allow = []byte(strings.Join(f.methods, ", "))
	f.headers = []byte(strings.Join(f.names, ", "))
	f.expose = []byte(strings.Join(append(append([]string{}, protocolShows...), with.Expose...), ", "))
	f.maxAge = strconv.AppendInt(nil, int64(with.MaxAge.Or(defaultMaxAge)/time.Second), 10)
	return f, nil
}

func (f *filter) origin(o string) error {
	if o == "*" {
		f.any = true
		return nil
	}
	if o == "null" {
		return errors.New(`"origins": "null" is what any sandboxed page sends; it cannot be told from others`)
	}
	u, err := url.Parse(strings.Replace(o, "://*.", "://", 1))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.Contains(u.Host, "*") {
		return fmt.Errorf(`"origins": %q is no origin; write "https://shop.example" or "https://*.example.com"`, o)
	}
	scheme, host := strings.ToLower(u.Scheme)+"://", strings.ToLower(u.Host)
	if strings.Contains(o, "://*.") {
		f.suffixes = append(f.suffixes, suffix{scheme, "." + host})
		return nil
	}
	f.exact[scheme+host] = true
	return nil
}

// known reports whether pages of the origin may call.
func (f *filter) known(origin []byte) bool {
	if f.any {
		return true
	}
	if len(origin) > maxOrigin {
		return false
	}
	var room [64]byte
	o := append(room[:0], origin...)
	for i, c := range o {
		if 'A' <= c && c <= 'Z' {
			o[i] = c + 'a' - 'A'
		}
	}
	if f.exact[string(o)] {
		return true
	}
	for _, s := range f.suffixes {
		rest, ok := bytes.CutPrefix(o, []byte(s.scheme))
		name, cut := bytes.CutSuffix(rest, []byte(s.host))
		if ok && cut && isName(name) {
			return true
		}
	}
	return false
}

// isName reports whether a text can be the beginning of a host name: nothing in it ends
// the name.
func isName(b []byte) bool {
	for _, c := range b {
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return len(b) > 0 && b[0] != '.' && b[len(b)-1] != '.'
}

// Arrive answers preflights.
func (f *filter) Arrive(c *gate.Call) error {
	c.Origins = true
	origin := c.Fields.Header(nameOrigin)
	if len(origin) == 0 {
		return nil
	}
	preflight := string(c.Method) == methodPreflight && c.Fields.Has(nameAskedMethod)
	if !f.known(origin) {
		if preflight || f.block {
			return gate.Refuse("A403CO", "Cross origin resource forbidden "+string(origin[:min(len(origin), maxOriginInText)]))
		}
		return nil
	}
	if !preflight {
		return nil
	}
	fields := f.fields(nil, origin)
	if f.asks(c.Fields.Header(nameAskedMethod), c.Fields.Header(nameAskedHeaders)) {
		headers := f.headers
		if f.anyNames {
			headers = append(append([]byte{}, headers...), ", "...)
			headers = append(headers, c.Fields.Header(nameAskedHeaders)...)
		}
		fields = append(fields, gate.Field{Name: nameAllowMethods, Value: f.allow}, gate.Field{Name: nameAllowHeaders, Value: headers},
			gate.Field{Name: nameMaxAge, Value: f.maxAge})
	}
	c.Reply(200, fields, nil)
	return nil
}

// asks reports whether a preflight asks for what there is. Otherwise the answer lists
// nothing, and the browser does not go on.
func (f *filter) asks(method, headers []byte) bool {
	ok := false
	for _, m := range f.methods {
		ok = ok || m == string(method)
	}
	for len(headers) > 0 && ok && !f.anyNames {
		one := headers
		if i := bytes.IndexByte(headers, ','); i >= 0 {
			one, headers = headers[:i], headers[i+1:]
		} else {
			headers = nil
		}
		if one = wire.Trim(one); len(one) > 0 {
			ok = false
			for _, n := range f.names {
				ok = ok || strings.EqualFold(n, string(one))
			}
		}
	}
	return ok
}

// fields appends what every answer to a known origin has.
func (f *filter) fields(list gate.Fields, origin []byte) gate.Fields {
	if f.any {
		return append(list, gate.Field{Name: nameAllowOrigin, Value: valueAny})
	}
	list = append(list, gate.Field{Name: nameAllowOrigin, Value: origin})
	if f.credentials {
		list = append(list, gate.Field{Name: nameAllowCreds, Value: valueTrue})
	}
	return list
}

// Answer puts our word about origins in place of the seller's.
func (f *filter) Answer(c *gate.Call) error {
	if c.Answer.Local && string(c.Method) == methodPreflight && c.Fields.Has(nameAskedMethod) {
		c.Answer.Add(nameVary, valuePreflight)
		return nil
	}
	f.mark(c)
	return nil
}

// Refused lets a page see why it was refused.
func (f *filter) Refused(c *gate.Call, _ *gate.Refusal) { f.mark(c) }

func (f *filter) mark(c *gate.Call) {
	for _, name := range namesOfAnswers {
		c.Answer.Drop(name)
	}
	if !f.any && !varies(c.Answer.Fields) {
		c.Answer.Add(nameVary, nameOrigin) // for caches, whoever asks
	}
	origin := c.Fields.Header(nameOrigin)
	if len(origin) == 0 || !f.known(origin) {
		return
	}
	c.Answer.Fields = append(f.fields(c.Answer.Fields, origin), gate.Field{Name: nameExpose, Value: f.expose})
}

// varies reports whether an answer says already that it depends on the origin.
func varies(fields gate.Fields) bool {
	for i := range fields {
		if gate.Alike(fields[i].Name, nameVary) && wire.Listed(fields[i].Value, nameOrigin) {
			return true
		}
	}
	return false
}
