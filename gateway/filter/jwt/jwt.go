// Package jwt lets calls through that carry a bearer token of a seller's own users, signed
// with a key of his, and tells his servers who they are. It comes beside the credentials of
// the app, and does not take their place.
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "from": ["header:Authorization", "query:token", "cookie:token"],   the header Authorization; the first that is there
//	  "keys": [
//	    {"id": "k1", "alg": "HS256", "secret": "sec_a"},
//	    {"id": "k2", "alg": "ES256", "pem": "-----BEGIN PUBLIC KEY-----…"}
//	  ],
//	  "jwks": {"keys": [ … ]},             public keys as JSON (RFC 7517)
//	  "issuer": "https://id.example",      any
//	  "audience": ["weather"],             any; one of them must be in the token
//	  "leeway": "30s",                     0s; how far clocks may differ
//	  "forever": true,                     false: a token must say when it expires
//	  "claims": {"sub": "X-User", "realm.roles": "X-Roles"},   what the seller is told, in which header
//	  "drop": true,                        false: the token itself goes on to the seller
//	  "optional": true                     false: a call without a token is refused
//	}
//
// A key serves one algorithm: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512,
// ES256, ES384, ES512 or EdDSA. So a public key is never taken for the secret of another
// algorithm, and "none" is none. What is refused gets A403PR.
package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	token "github.com/golang-jwt/jwt/v5"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

func init() { gate.Register(gate.Info{ID: "jwt", Place: 400, New: newFilter}) }

// Bounds of a setting and of tokens.
const (
	MaxKeys  = 32
	MaxToken = 8 << 10 // bytes
)

type filter struct {
	from     []source
	keys     []key
	parser   *token.Parser
	claims   []claim
	drop     bool
	optional bool
}

type source struct {
	in   string // "header", "query" or "cookie"
	name []byte
}

type claim struct {
	path   []string
	header []byte
}

func needed(reason string) *gate.Refusal {
	return gate.Refuse("A403PR", "Plugin Authorization Needed: "+reason)
}

// The refusals; each is one value.
var (
	noToken      = needed("there is no token")
	malformed    = needed("the token is malformed")
	wrongKey     = needed("the token is signed with an unknown key or in an unknown way")
	wrong        = needed("the signature of the token is wrong")
	expired      = needed("the token has expired")
	notYet       = needed("the token is not valid yet")
	otherIssuer  = needed("the token is of another issuer")
	otherPurpose = needed("the token is for another audience")
	incomplete   = needed("the token lacks a claim that is required")
	unwritable   = needed("a claim of the token cannot stand in a header")
)

func newFilter(env gate.Env) (any, error) {
	var with struct {
		From []string `json:"from"`
		Keys []struct {
			ID     string           `json:"id"`
			Alg    string           `json:"alg"`
			Secret control.SecretID `json:"secret"`
			PEM    string           `json:"pem"`
		} `json:"keys"`
		JWKS     json.RawMessage   `json:"jwks"`
		Issuer   string            `json:"issuer"`
		Audience []string          `json:"audience"`
		Leeway   setting.Duration  `json:"leeway"`
		Forever  bool              `json:"forever"`
		Claims   map[string]string `json:"claims"`
		Drop     bool              `json:"drop"`
		Optional bool              `json:"optional"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	f := &filter{drop: with.Drop, optional: with.Optional}
	for _, k := range with.Keys {
		made, err := newKey(k.ID, k.Alg, k.Secret, k.PEM, env.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.ID, err)
		}
		f.keys = append(f.keys, made)
	}
	if len(with.JWKS) > 0 {
		keys, err := readSet(with.JWKS)
		if err != nil {
			return nil, fmt.Errorf("jwks: %w", err)
		}
		f.keys = append(f.keys, keys...)
	}
	if len(f.keys) == 0 || len(f.keys) > MaxKeys {
		return nil, fmt.Errorf(`it needs "keys" or "jwks", with 1 to %d keys`, MaxKeys)
	}
	if len(with.From) == 0 {
		with.From = []string{"header:Authorization"}
	}
	for _, text := range with.From {
		in, name, _ := strings.Cut(text, ":")
		if in != "header" && in != "query" && in != "cookie" || name == "" || in != "query" && !wire.IsToken([]byte(name)) {
			return nil, fmt.Errorf(`"from": %q is no place; write "header:Authorization", "query:token" or "cookie:token"`, text)
		}
		f.from = append(f.from, source{in, []byte(name)})
	}
	if with.Leeway.Or(0) > 10*time.Minute {
		return nil, errors.New(`"leeway" is at most 10m`)
	}
	for path, header := range with.Claims {
		if path == "" || gate.Reserved([]byte(header)) {
			return nil, fmt.Errorf(`"claims": the header %q is not for a filter to write`, header)
		}
		f.claims = append(f.claims, claim{strings.Split(path, "."), []byte(header)})
	}
	sort.Slice(f.claims, func(i, j int) bool { return string(f.claims[i].header) < string(f.claims[j].header) })
	options := []token.ParserOption{token.WithTimeFunc(env.Now), token.WithLeeway(with.Leeway.Or(0)), token.WithJSONNumber(),
		token.WithStrictDecoding(), token.WithValidMethods(f.algorithms())}
	if !with.Forever {
		options = append(options, token.WithExpirationRequired())
	}
	if with.Issuer != "" {
		options = append(options, token.WithIssuer(with.Issuer))
	}
	if len(with.Audience) > 0 {
		options = append(options, token.WithAudience(with.Audience...))
	}
	f.parser = token.NewParser(options...)
	return f, nil
}

func (f *filter) algorithms() []string {
	var list []string
	for _, k := range f.keys {
		list = append(list, k.alg)
	}
	return list
}

// Admit checks the token.
func (f *filter) Admit(c *gate.Call) error {
	text := f.find(c)
	if len(f.claims) > 0 || f.drop {
		o := c.Outgoing()
		for i := range f.claims {
			o.Drop(f.claims[i].header) // what the caller says of himself is not heard
		}
		if f.drop {
			f.takeOut(o)
		}
	}
	if len(text) == 0 {
		if f.optional {
			return nil
		}
		return noToken
	}
	if len(text) > MaxToken {
		return malformed
	}
	claims := token.MapClaims{}
	if _, err := f.parser.ParseWithClaims(string(text), claims, f.key); err != nil {
		return refusal(err)
	}
	return f.tell(c, claims)
}

var errCritical = errors.New("jwt: the token demands what we do not know")

// key finds the keys that a token may be signed with: those of its algorithm, and of its
// key ID if it names one.
func (f *filter) key(t *token.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errCritical
	}
	id, _ := t.Header["kid"].(string)
	var set token.VerificationKeySet
	for i := range f.keys {
		k := &f.keys[i]
		if k.alg == t.Method.Alg() && (id == "" || k.id == "" || k.id == id) {
			set.Keys = append(set.Keys, k.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, errors.New("jwt: no such key")
	}
	return set, nil
}

func refusal(err error) *gate.Refusal {
	for _, one := range []struct {
		err error
		r   *gate.Refusal
	}{
		{token.ErrTokenMalformed, malformed}, {token.ErrTokenUnverifiable, wrongKey}, {token.ErrTokenExpired, expired},
		{token.ErrTokenNotValidYet, notYet}, {token.ErrTokenRequiredClaimMissing, incomplete},
		{token.ErrTokenInvalidIssuer, otherIssuer}, {token.ErrTokenInvalidAudience, otherPurpose},
		{token.ErrInvalidType, malformed},
	} {
		if errors.Is(err, one.err) {
			return one.r
		}
	}
	return wrong
}

// find is the token; nothing if there is none.
func (f *filter) find(c *gate.Call) []byte {
	for i := range f.from {
		s := &f.from[i]
		switch s.in {
		case "header":
			value := wire.Trim(c.Fields.Header(s.name))
			if gate.Alike(s.name, nameAuthorization) {
				scheme, rest, _ := bytes.Cut(value, []byte{' '})
				if !bytes.EqualFold(scheme, bearer) {
					continue
				}
				value = wire.Trim(rest)
			}
			if len(value) > 0 {
				return value
			}
		case "query":
			if value, _ := param.Raw(c.Query, s.name); len(value) > 0 {
				return signer.AppendDecoded(nil, value, true)
			}
		case "cookie":
			if value := cookie(c.Fields, s.name); len(value) > 0 {
				return value
			}
		}
	}
	return nil
}

var (
	nameAuthorization = []byte("Authorization")
	nameCookie        = []byte("Cookie")
	bearer            = []byte("Bearer")
)

// cookie is the value of the first cookie of a name.
func cookie(fields gate.Fields, name []byte) []byte {
	for i := range fields {
		if !gate.Alike(fields[i].Name, nameCookie) {
			continue
		}
		for rest := fields[i].Value; len(rest) > 0; {
			var one []byte
			one, rest, _ = bytes.Cut(rest, []byte{';'})
			n, value, _ := bytes.Cut(wire.Trim(one), []byte{'='})
			if bytes.Equal(n, name) {
				return bytes.Trim(value, `"`)
			}
		}
	}
	return nil
}

// takeOut takes the token out of what the seller gets. A cookie stays: it is the seller's.
func (f *filter) takeOut(o *gate.Outgoing) {
	for i := range f.from {
		s := &f.from[i]
		switch s.in {
		case "header":
			o.Drop(s.name)
		case "query":
			kept := make([]byte, 0, len(o.Query))
			for rest := o.Query; len(rest) > 0; {
				var p param.Pair
				before := rest
				p, rest = param.Next(rest)
				if param.Is(p.Name, s.name) {
					continue
				}
				if len(kept) > 0 {
					kept = append(kept, '&')
				}
				kept = append(kept, bytes.TrimSuffix(before[:len(before)-len(rest)], []byte{'&'})...)
			}
			o.Query, o.Mark = kept, len(kept) > 0
		}
	}
}

// tell writes claims into headers.
func (f *filter) tell(c *gate.Call, claims token.MapClaims) error {
	for i := range f.claims {
		var value any = map[string]any(claims)
		for _, step := range f.claims[i].path {
			object, _ := value.(map[string]any)
			value = object[step]
		}
		text, ok := inHeader(value)
		if !ok {
			return unwritable
		}
		if text != nil {
			c.Outgoing().Set(f.claims[i].header, text)
		}
	}
	return nil
}

// inHeader is a claim as a header has it: a text as it is, a list of texts with commas
// between, all else as JSON. Nothing if there is no claim.
func inHeader(value any) (text []byte, ok bool) {
	switch v := value.(type) {
	case nil:
		return nil, true
	case string:
		text = []byte(v)
	case []any:
		for i, one := range v {
			s, isText := one.(string)
			if !isText || strings.Contains(s, ",") {
				text, _ = json.Marshal(v) // it came as JSON
				break
			}
			if i > 0 {
				text = append(text, ',')
			}
			text = append(text, s...)
		}
	default:
		text, _ = json.Marshal(v)
	}
	return text, param.FitsHeader(text)
}
