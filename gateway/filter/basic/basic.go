// Package basic lets calls through that carry a name and a password of a seller's own users
// (HTTP basic authorization). It comes beside the credentials of the app, and does not take
// their place.
//
// The setting, with what holds if a field is left out:
//
//	{
//	  "users": [{"name": "alice", "hash": "$2b$12$…"}, {"name": "bob", "hash": "$argon2id$v=19$m=19456,t=2,p=1$…$…"}],
//	  "header": "X-User",     none; the seller is told the name in it
//	  "drop": true            false: name and password go on to the seller
//	}
//
// Hashes are bcrypt's (cost 4 to 13) or argon2id's (at most 64 MiB, 8 rounds, 4 lanes). Few
// are reckoned at once, so that guessing takes neither the memory nor the cores; who finds
// all of them busy gets X503BZ. What was right once is remembered for a while, under the
// hash: a password that is changed, or a user who is taken out, is refused at once.
package basic

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/gateway/wire"
)

func init() { gate.Register(gate.Info{ID: "basic", Place: 410, New: newFilter}) }

// Bounds.
const (
	MaxUsers      = 1000
	MaxCredential = 1024 // bytes of what a caller sends
	maxCost       = 13   // bcrypt's: half a second
	maxMemory     = 64 << 10
	maxRounds     = 8
	maxLanes      = 4
	remembered    = 10_000
	goodFor       = 5 * time.Minute
	badFor        = 10 * time.Second // so that a program with a wrong password costs little
)

type filter struct {
	users map[string]*hash
	other *hash // is reckoned for names that there are not, so that both take as long
	name  []byte
	drop  bool
	desk  *desk
}

var (
	noPassword = gate.Refuse("A403PR", "Plugin Authorization Needed: there is no name and password")
	wrong      = gate.Refuse("A403PR", "Plugin Authorization Needed: the name or the password is wrong")
)

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Users []struct {
			Name string `json:"name"`
			Hash string `json:"hash"`
		} `json:"users"`
		Header string `json:"header"`
		Drop   bool   `json:"drop"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if len(with.Users) == 0 || len(with.Users) > MaxUsers {
		return nil, fmt.Errorf(`it needs "users", from 1 to %d`, MaxUsers)
	}
	if with.Header != "" && gate.Reserved([]byte(with.Header)) {
		return nil, fmt.Errorf("the header %q is not for a filter to write", with.Header)
	}
	f := &filter{users: map[string]*hash{}, name: []byte(with.Header), drop: with.Drop}
	for _, u := range with.Users {
		if u.Name == "" || strings.Contains(u.Name, ":") || !param.FitsHeader([]byte(u.Name)) {
			return nil, fmt.Errorf("the name %q is empty, or has a colon or a control character", u.Name)
		}
		if f.users[u.Name] != nil {
			return nil, fmt.Errorf("two users have the name %q", u.Name)
		}
		h, err := readHash(u.Hash)
		if err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Name, err)
		}
		f.users[u.Name] = h
		if f.other == nil {
			f.other = h
		}
	}
	f.desk = env.Shared("basic", newDesk).(*desk)
	return f, nil
}

var (
	nameAuthorization = []byte("Authorization")
	scheme            = []byte("Basic")
)

// Admit checks name and password.
func (f *filter) Admit(c *gate.Call) error {
	value := wire.Trim(c.Fields.Header(nameAuthorization))
	kind, text, _ := bytes.Cut(value, []byte{' '})
	if !bytes.EqualFold(kind, scheme) || len(text) > MaxCredential {
		return noPassword
	}
	plain, err := base64.StdEncoding.AppendDecode(nil, wire.Trim(text))
	if err != nil {
		return noPassword
	}
	name, password, ok := bytes.Cut(plain, []byte{':'})
	if !ok {
		return noPassword
	}
	h, known := f.users[string(name)]
	if !known {
		h = f.other
	}
	right, err := f.desk.check(h, name, password)
	if err != nil {
		return err
	}
	if !right || !known {
		return wrong
	}
	if len(f.name) > 0 {
		c.Outgoing().Set(f.name, name)
	}
	if f.drop {
		c.Outgoing().Drop(nameAuthorization)
	}
	return nil
}

// desk checks passwords for all routes of a gateway: few at once.
type desk struct {
	places chan struct{} // one for each that is reckoned
	queue  atomic.Int32
	seen   *ristretto.Cache[string, verdict]
	key    [32]byte // of this process; what is remembered says nothing without it
}

// verdict is what was found. The sum stands with it since the cache compares shorter ones.
type verdict struct {
	sum   [sha256.Size]byte
	right bool
}

// waiting is how many calls wait for a place at most; each waits for as long as a few
// passwords take.
const waiting = 8

func newDesk() any {
	d := &desk{places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(d.key[:]) // never fails
	var err error
	d.seen, err = ristretto.NewCache(&ristretto.Config[string, verdict]{NumCounters: 10 * remembered, MaxCost: remembered, BufferItems: 64, IgnoreInternalCost: true})
	if err != nil {
		panic("basic: " + err.Error()) // its numbers are constants
	}
	return d
}

// Close ends the goroutines of what is remembered. Nobody may use the desk any more.
func (d *desk) Close() error {
	d.seen.Close()
	return nil
}

// check compares a password with a hash, or says that too many are being compared.
func (d *desk) check(h *hash, name, password []byte) (bool, error) {
	mac := hmac.New(sha256.New, d.key[:])
	for _, part := range [][]byte{[]byte(h.text), name, password} {
		mac.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		mac.Write([]byte{':'})
		mac.Write(part)
	}
	var v verdict
	mac.Sum(v.sum[:0])
	id := string(v.sum[:])
	if seen, ok := d.seen.Get(id); ok && hmac.Equal(seen.sum[:], v.sum[:]) {
		return seen.right, nil
	}
	if d.queue.Add(1) > int32(waiting+cap(d.places)) {
		d.queue.Add(-1)
		return false, gate.Busy
	}
	defer d.queue.Add(-1)
	d.places <- struct{}{}
	defer func() { <-d.places }()
	v.right = h.is(password)
	life := goodFor
	if !v.right {
		life = badFor
	}
	d.seen.SetWithTTL(id, v, 1, life)
	return v.right, nil
}

// hash is a password's.
type hash struct {
	text string
	// argon2id's; no sum means bcrypt.
	memory, rounds uint32
	lanes          uint8
	salt, sum      []byte
}

func readHash(text string) (*hash, error) {
	if strings.HasPrefix(text, "$2") {
		cost, err := bcrypt.Cost([]byte(text))
		if err != nil || len(text) != 60 {
			return nil, fmt.Errorf("its hash is no bcrypt hash")
		}
		if cost > maxCost {
			return nil, fmt.Errorf("its bcrypt hash has cost %d; the most is %d", cost, maxCost)
		}
		return &hash{text: text}, nil
	}
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return nil, fmt.Errorf(`its hash is neither bcrypt's ("$2b$…") nor argon2id's ("$argon2id$v=19$m=19456,t=2,p=1$salt$sum")`)
	}
	h := &hash{text: text}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.rounds, &h.lanes); n != 3 || err != nil || parts[2] != "v=19" ||
		h.memory < 8 || h.memory > maxMemory || h.rounds < 1 || h.rounds > maxRounds || h.lanes < 1 || h.lanes > maxLanes {
		return nil, fmt.Errorf("its argon2id hash is not of version 19 with m up to %d, t up to %d and p up to %d", maxMemory, maxRounds, maxLanes)
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.sum) < 16 || len(h.sum) > 64 {
		return nil, fmt.Errorf("salt or sum of its argon2id hash are not Base64, or too short")
	}
	return h, nil
}

// is reports whether the hash is the password's.
func (h *hash) is(password []byte) bool {
	if h.sum == nil {
		return bcrypt.CompareHashAndPassword([]byte(h.text), password) == nil
	}
	sum := argon2.IDKey(password, h.salt, h.rounds, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}
