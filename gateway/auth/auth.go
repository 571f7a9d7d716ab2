// Package auth finds out which app calls: by its AppCode, or by a signature made with its
// AppSecret. What the app may call is quota's question.
//
// A call that claims to be signed is judged by its signature alone, even if an AppCode
// stands beside it. The rules are sections 2 to 4 of the wire protocol.
package auth

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/tally"
	"github.com/souk-market/souk/signer"
)

// App is what the gate needs to know of an app. Its texts and its secret may be pieces of
// a larger memory, which never changes: they are good for as long as somebody has them, and
// who keeps them for longer than a call takes a copy.
type App struct {
	ID     control.AppID
	Owner  string // the account that owns it
	Key    string // AppKey
	Live   bool
	Secret []byte
}

// Accounts finds apps by their credentials. An error means that it cannot be known now:
// nobody is refused for that.
type Accounts interface {
	ByKey(appKey []byte) (App, bool, error)
	ByCode(code []byte) (App, bool, error)
}

// Doubter is what Accounts may also be: Known says why somebody may have other credentials
// by now, or may exist though we do not know him; nil: he does not. It is asked before a
// caller is turned away for his credentials, and only then: a refusal is a definite no
// (gateway.md S6).
type Doubter interface{ Known() error }

// startSkew is how far the clock of a caller may be behind ours for a call that was made
// after our start.
const startSkew = 2 * time.Second

// Gate is the gate that writes App and How on a call.
type Gate struct {
	accounts Accounts
	known    func() error // nil: there is never a doubt
	nonces   tally.Nonces
	// started: nonces used before it are forgotten, so no call may come from before it.
	started   time.Time
	nobody    [32]byte // the secret of apps that do not exist
	verifiers sync.Pool
}

// Since says that nonces are known from a moment before our start on: the process that we
// take over from has given us its own. It is called before the first call.
func (g *Gate) Since(started time.Time) { g.started = started }

// From is that moment.
func (g *Gate) From() time.Time { return g.started }

// New makes the gate. Nonces that were used before started are not in nonces.
func New(accounts Accounts, nonces tally.Nonces, started time.Time) *Gate {
	g := &Gate{accounts: accounts, nonces: nonces, started: started, verifiers: sync.Pool{New: func() any { return new(check) }}}
	_, _ = rand.Read(g.nobody[:]) // it never fails
	if d, ok := accounts.(Doubter); ok {
		g.known = d.Known
	}
	return g
}

// check is what checking a signature needs, kept from call to call.
type check struct {
	verifier signer.Verifier
	request  signer.Request
	code     [64]byte
}

var authorization = []byte(signer.HeaderAuthorization)

// Pass identifies the app and cuts AppCodes out of the call's query.
func (g *Gate) Pass(c *gate.Call) error {
	k := g.verifiers.Get().(*check)
	err := g.pass(c, k)
	k.request = signer.Request{}
	g.verifiers.Put(k)
	if !c.Group.KeepAppCode && len(c.Query) > 0 {
		c.Query = signer.AppendWithoutAppCode(c.Query[:0], c.Query)
	}
	return err
}

func (g *Gate) pass(c *gate.Call, k *check) error {
	if signer.IsSigned(&c.Fields) {
		return g.signed(c, k)
	}
	query := c.Query
	if c.Route.AppCode == control.AppCodeHeader {
		query = nil
	}
	code, place := signer.AppCode(c.Fields.Header(authorization), query, k.code[:0])
	if c.Route.AppCode == control.AppCodeDisable {
		return keyRequired
	}
	if place == signer.Nowhere {
		return gate.NoCredential
	}
	app, ok, err := g.accounts.ByCode(code)
	if err != nil {
		return unknowable(err)
	}
	if !ok || !app.Live {
		return g.sure(gate.UnknownCode)
	}
	c.App, c.Key, c.Owner, c.How = app.ID, app.Key, app.Owner, gate.ByAppCode
	return nil
}

var (
	keyRequired = refusal(signer.KeyRequired)
	// noRoom: the app has used more nonces than are kept for it.
	noRoom = func() *gate.Refusal {
		r := gate.Refuse("T429MR", "Too Many Requests, throttle by nonces of the app")
		r.After = time.Minute
		return r
	}()
)

// signed makes the checks of section 4.4 in their order.
func (g *Gate) signed(c *gate.Call, k *check) error {
	key, err := signer.Key(&c.Fields)
	if err != nil {
		return fault(err)
	}
	app, ok, err := g.accounts.ByKey(key)
	if err != nil {
		return unknowable(err)
	}
	k.request = signer.Request{Method: c.Method, Target: c.Target, Headers: &c.Fields}
	if !ok || !app.Live {
		// Whoever tries keys must not learn from the time whether there is such a one: it is
		// checked like any other, with a secret that nobody has (security.md K4). Its body is
		// not waited for.
		_, _ = k.verifier.Verify(&k.request, g.nobody[:], signer.Rules{Now: c.At, AllowSHA1: c.Route.AllowSHA1, CanonicalOnly: c.Route.Canonical})
		return g.sure(gate.UnknownKey)
	}
	if k.request.ReadsBody() {
		if err := c.ReadBody(c); err != nil {
			return err
		}
		k.request.Body = c.Body
	}
	proof, err := k.verifier.Verify(&k.request, app.Secret, signer.Rules{
		Now:           c.At,
		AllowSHA1:     c.Route.AllowSHA1,
		CanonicalOnly: c.Route.Canonical,
	})
	if err != nil {
		err = fault(err)
		if r := (*gate.Refusal)(nil); errors.As(err, &r) && r.Code == wrongSignature {
			return g.sure(err) // it may be right for a secret that we have not heard of
		}
		return err
	}
	if err := g.nonce(c, app.ID, proof); err != nil {
		return err
	}
	c.App, c.Key, c.Owner, c.How = app.ID, app.Key, app.Owner, gate.BySignature
	return nil
}

const wrongSignature = "A403IS"

// sure is a refusal, unless there is a doubt whether it is right.
func (g *Gate) sure(refusal error) error {
	if g.known != nil {
		if err := g.known(); err != nil {
			return unknowable(err)
		}
	}
	return refusal
}

// nonce comes after a right signature only: a stranger must not use up an app's nonces.
func (g *Gate) nonce(c *gate.Call, app control.AppID, proof signer.Proof) error {
	if len(proof.Nonce) == 0 {
		if c.Route.ForceNonce {
			return gate.NonceNeeded
		}
		return nil
	}
	if proof.Timestamp != 0 && proof.Timestamp < g.started.Add(-startSkew).UnixMilli() {
		return gate.ClockSkew
	}
	switch err := g.nonces.Use(app, proof.Nonce, c.At); {
	case err == nil:
		return nil
	case errors.Is(err, tally.ErrUsed):
		return gate.NonceUsed
	case errors.Is(err, tally.ErrFull):
		return noRoom
	default:
		return unknowable(err)
	}
}

// fault turns the signer's word into the gate's.
func fault(err error) error {
	var f *signer.Fault
	if !errors.As(err, &f) {
		return err
	}
	return refusal(f)
}

func refusal(f *signer.Fault) *gate.Refusal {
	return &gate.Refusal{Status: f.Status, Code: f.Code, Message: f.Message}
}

// Unknowable is the error of a call about which nothing can be known at the moment.
type Unknowable struct{ Err error }

// Error is the cause's.
func (u *Unknowable) Error() string { return u.Err.Error() }

// Unwrap is the cause.
func (u *Unknowable) Unwrap() error { return u.Err }

func unknowable(err error) error { return &Unknowable{fmt.Errorf("auth: %w", err)} }
