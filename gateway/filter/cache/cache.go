// Package cache keeps a seller's answers for callers who ask the same again (RFC 9111), as
// long as the seller says that they are good. What it gives costs the caller what any
// answer costs.
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "shared": true,         false: each app has answers of its own
//	  "ttl": "30s",           0s: how long an answer is good that says nothing of it
//	  "most": "1h",           24h: how long one is kept at most, whatever it says
//	  "max_body": 262144,     256 KiB
//	  "vary": ["X-Device"],   headers that answers depend on though they do not say so in Vary
//	  "stubborn": true        false: callers may ask for a fresh answer (Cache-Control: no-cache)
//	}
//
// Kept are whole answers to GET that have no Set-Cookie, are not private, no-store or
// no-cache, and that nobody was authorized for, unless the seller says public, s-maxage or
// must-revalidate; that an app was let in by its AppCode does not count, as it is the
// gateway's affair. An answer is found by what the seller would have been asked: address,
// path and query after mapping, in which no AppCode is left (API-05), and the headers that
// Vary names. What a later filter makes of path, query or such a header cannot be foreseen,
// so then nothing is kept. A successful call of another method forgets what was kept of its
// address.
package cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

func init() { gate.Register(gate.Info{ID: "cache", Place: 700, New: newFilter}) }

// Defaults and bounds of a setting.
const (
	DefaultBody = 256 << 10
	MaxBody     = 8 << 20
	DefaultMost = 24 * time.Hour
)

type filter struct {
	store      *Store
	shared     bool
	identified bool // users of the seller's are known by other filters
	stubborn   bool
	ttl, most  time.Duration
	maxBody    int64
	vary       [][]byte
	begin      []byte // of every key
	route      control.RouteID
	now        func() time.Time
}

func newFilter(env gate.Env) (any, error) {
	with := struct {
		Shared   bool             `json:"shared"`
		TTL      setting.Duration `json:"ttl"`
		Most     setting.Duration `json:"most"`
		MaxBody  int64            `json:"max_body"`
		Vary     []string         `json:"vary"`
		Stubborn bool             `json:"stubborn"`
	}{MaxBody: DefaultBody}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if with.MaxBody < 1 || with.MaxBody > MaxBody {
		return nil, fmt.Errorf(`"max_body" is from 1 to %d bytes`, MaxBody)
	}
	f := &filter{shared: with.Shared, stubborn: with.Stubborn, ttl: with.TTL.Or(0), most: with.Most.Or(DefaultMost), maxBody: with.MaxBody,
		route: env.Route.ID, now: env.Now}
	if f.most > 30*24*time.Hour || f.ttl > f.most {
		return nil, errors.New(`"ttl" is no longer than "most", and that is at most 720h`)
	}
	for _, name := range with.Vary {
		if !wire.IsToken([]byte(name)) {
			return nil, fmt.Errorf(`"vary": %q is no name of a header`, name)
		}
		f.vary = append(f.vary, []byte(name))
	}
	for _, list := range [][]control.FilterSetting{env.Group.Filters, env.Route.Filters} {
		for _, s := range list {
			f.identified = f.identified || s.Filter == "jwt" || s.Filter == "basic"
		}
	}
	f.begin = fmt.Appendf(nil, "%q %q %q", env.Group.ID, env.Route.Upstream, env.Route.Via)
	f.store = env.Shared(SharedKey, func() any { return NewStore() }).(*Store)
	return f, nil
}

var (
	nameAge             = []byte("Age")
	nameAuthorization   = []byte(signer.HeaderAuthorization)
	nameCacheControl    = []byte("Cache-Control")
	nameCacheStatus     = []byte("Cache-Status")
	nameContentLength   = []byte("Content-Length")
	nameCookie          = []byte("Cookie")
	nameDate            = []byte("Date")
	nameETag            = []byte("ETag")
	nameExpires         = []byte("Expires")
	nameIfModifiedSince = []byte("If-Modified-Since")
	nameIfNoneMatch     = []byte("If-None-Match")
	nameLastModified    = []byte("Last-Modified")
	namePragma          = []byte("Pragma")
	nameRange           = []byte("Range")
	nameSetCookie       = []byte("Set-Cookie")
	nameTransfer        = []byte("Transfer-Encoding")
	nameVary            = []byte("Vary")
	statusMiss          = []byte("Souk; fwd=miss")
	noStore             = []byte("no-store")
)

// askable reports whether the cache has to do with a call at all.
func askable(c *gate.Call) bool {
	if m := string(c.Method); m != "GET" && m != "HEAD" {
		return false
	}
	if n := c.Fields.Header(nameContentLength); len(n) > 0 && string(n) != "0" {
		return false
	}
	return !c.Fields.Has(nameRange) && !c.Fields.Has(nameTransfer) && len(c.Upgrade) == 0
}

// Send answers with what is kept.
func (f *filter) Send(c *gate.Call) error {
	if c.Replied() || !askable(c) {
		return nil
	}
	wants := readDirectives(c.Fields, nameCacheControl)
	if wants.noStore {
		return nil
	}
	c.Sought.Fields = append(c.Sought.Fields[:0], outgoing(c)...)
	c.Sought.Key = f.key(c)
	if !f.stubborn && (wants.noCache || !wants.some && readDirectives(c.Fields, namePragma).noCache) {
		return nil
	}
	if e := f.store.find(c.Sought.Key, c.Sought.Fields); e != nil {
		age := e.age(f.now())
		if age < e.life && (f.stubborn || (wants.maxAge < 0 || age <= wants.maxAge) && (wants.minFresh < 0 || e.life-age >= wants.minFresh)) {
			e.reply(c, age)
			return nil
		}
	}
	if wants.onlyIfCached && !f.stubborn {
		c.Reply(504, gate.Fields{{Name: nameCacheControl, Value: noStore}}, nil)
	}
	return nil
}

// outgoing are the headers that the seller would get now.
func outgoing(c *gate.Call) gate.Fields {
	if o := c.Changed(); o != nil {
		return o.Fields
	}
	return c.Fields
}

var hashes = sync.Pool{New: func() any { return sha256.New() }}

// key is where the answer to what the seller would be asked now is kept.
func (f *filter) key(c *gate.Call) (key [32]byte) {
	path, query := c.Path, c.Query
	if o := c.Changed(); o != nil {
		path, query = o.Path, o.Query
	}
	h := hashes.Get().(hash.Hash)
	h.Reset()
	put(h, f.begin)
	put(h, path)
	put(h, query)
	if !f.shared {
		put(h, []byte(c.App))
	}
	h.Sum(key[:0])
	hashes.Put(h)
	return key
}

// put hashes a text with its length, so that two lists of texts never look alike.
func put(h hash.Hash, text []byte) {
	var room [20]byte
	h.Write(append(strconv.AppendInt(room[:0], int64(len(text)), 10), ':'))
	h.Write(text)
}

// values hashes all values of a header.
func values(h hash.Hash, fields gate.Fields, name []byte) {
	put(h, bytes.ToLower(name))
	for i := range fields {
		if gate.Alike(fields[i].Name, name) {
			put(h, fields[i].Value)
		}
	}
	h.Write([]byte{';'})
}

// Answer looks whether an answer may be kept, and asks for its body.
func (f *filter) Answer(c *gate.Call) error {
	if c.Answer.Local || c.Cached {
		return nil
	}
	switch string(c.Method) {
	case "GET":
	case "HEAD", "OPTIONS":
		return nil
	default:
		if c.Answer.Status >= 200 && c.Answer.Status < 400 {
			f.store.forget(f.key(c)) // RFC 9111, 4.4
		}
		return nil
	}
	if _, ok := f.keeps(c); ok && c.Answer.Length <= f.maxBody {
		c.Answer.Want(f.maxBody)
	}
	if c.Sought.Key != ([32]byte{}) {
		c.Answer.Add(nameCacheStatus, statusMiss)
	}
	return nil
}

// Whole keeps the answer.
func (f *filter) Whole(c *gate.Call) error {
	life, ok := f.keeps(c)
	if !ok || c.Cached || c.Answer.Local || string(c.Method) != "GET" || int64(len(c.Answer.Body)) > f.maxBody {
		return nil
	}
	now := f.now()
	e := &entry{key: c.Sought.Key, status: c.Answer.Status, reason: bytes.Clone(c.Answer.Reason), body: bytes.Clone(c.Answer.Body),
		stored: now, life: life, initial: initialAge(c, now), route: f.route, generation: f.store.generation(f.route)}
	if e.initial >= life {
		return nil
	}
	for _, field := range c.Answer.Fields {
		if !gate.Alike(field.Name, nameAge) && !gate.Alike(field.Name, nameCacheStatus) {
			e.fields = append(e.fields, gate.Field{Name: bytes.Clone(field.Name), Value: bytes.Clone(field.Value)})
		}
	}
	f.store.keep(e, f.varied(c.Answer.Fields), c.Sought.Fields)
	return nil
}

// keeps reports whether the answer of a call may be kept, and for how long it is good.
func (f *filter) keeps(c *gate.Call) (time.Duration, bool) {
	if c.Sought.Key == ([32]byte{}) || f.key(c) != c.Sought.Key {
		return 0, false // it was not looked for, or something else was asked in the end
	}
	if o := c.Changed(); o != nil && o.HasBody {
		return 0, false
	}
	a := &c.Answer
	says := readDirectives(a.Fields, nameCacheControl)
	if says.noStore || says.private || says.noCache || a.Fields.Has(nameSetCookie) || !keptStatus(a.Status) {
		return 0, false
	}
	open := says.public || says.mustRevalidate || says.sMaxAge >= 0
	if !open && (f.identified || authorized(c) || c.Sought.Fields.Has(nameCookie)) {
		return 0, false
	}
	final := outgoing(c)
	for _, name := range f.varied(a.Fields) {
		if string(name) == "*" || !sameValues(final, c.Sought.Fields, name) {
			return 0, false
		}
	}
	life := f.ttl
	switch {
	case says.sMaxAge >= 0:
		life = says.sMaxAge
	case says.maxAge >= 0:
		life = says.maxAge
	case a.Fields.Has(nameExpires):
		life = 0
		date := dateOf(a.Fields, nameDate, c.At)
		if expires, ok := readDate(a.Fields.Header(nameExpires)); ok {
			life = expires.Sub(date)
		}
	case a.Status >= 400:
		life = 0 // an error is kept only if the seller says so
	}
	life = min(life, f.most)
	return life, life > 0
}

// keptStatus reports whether answers of a status are ever kept.
func keptStatus(s int) bool {
	switch s {
	case 200, 203, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// authorized reports whether the seller let somebody in by what the caller sent him.
func authorized(c *gate.Call) bool {
	for i := range c.Fields {
		if gate.Alike(c.Fields[i].Name, nameAuthorization) && c.Passes(c.Fields[i]) {
			return true
		}
	}
	return false
}

func sameValues(a, b gate.Fields, name []byte) bool {
	i := 0
	for _, f := range a {
		if !gate.Alike(f.Name, name) {
			continue
		}
		for i < len(b) && !gate.Alike(b[i].Name, name) {
			i++
		}
		if i == len(b) || !bytes.Equal(b[i].Value, f.Value) {
			return false
		}
		i++
	}
	for ; i < len(b); i++ {
		if gate.Alike(b[i].Name, name) {
			return false
		}
	}
	return true
}

// varied are the names in the Vary of an answer, and those of the setting.
func (f *filter) varied(fields gate.Fields) [][]byte {
	names := slices.Clone(f.vary)
	for i := range fields {
		if !gate.Alike(fields[i].Name, nameVary) {
			continue
		}
		for one := range bytes.SplitSeq(fields[i].Value, []byte{','}) {
			if one = wire.Trim(one); len(one) > 0 {
				names = append(names, bytes.Clone(one))
			}
		}
	}
	return names
}
