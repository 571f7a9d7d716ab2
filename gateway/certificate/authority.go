package certificate

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// AuthorityOptions say who gives certificates. Folder is needed.
type AuthorityOptions struct {
	Directory string // of the authority; empty: Let's Encrypt's
	Email     string // that the authority may write to; may be empty
	Folder    string // where certificates and keys are kept
	// Key, 32 bytes, encrypts what is kept; nil: it lies in the clear, readable by us alone.
	Key    []byte
	Client *http.Client // nil: the default one
}

// Authority gets certificates by ACME for names that it is told, when they are first asked
// for, and renews them. Names are proved by tls-alpn-01 on the gateway's own port, or by
// http-01 where Challenge is asked on port 80.
type Authority struct {
	manager *autocert.Manager
	names   atomic.Pointer[map[string]bool]

	mu   sync.Mutex // guards ends
	ends map[string]time.Time
}

// NewAuthority makes one that serves no name yet. With it the operator accepts the terms of
// the authority.
func NewAuthority(o AuthorityOptions) (*Authority, error) {
	if o.Folder == "" {
		return nil, errors.New("certificate: the authority needs a folder")
	}
	if u, err := url.Parse(o.Directory); err != nil || o.Directory != "" && (u.Scheme != "https" || u.Host == "") {
		return nil, fmt.Errorf("certificate: %q is no https address of an ACME directory", o.Directory)
	}
	cache, err := newCache(o.Folder, o.Key)
	if err != nil {
		return nil, err
	}
	a := &Authority{ends: map[string]time.Time{}}
	a.manager = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: cache, Email: o.Email, HostPolicy: a.policy,
		Client: &acme.Client{DirectoryURL: o.Directory, HTTPClient: o.Client, UserAgent: "souk"}}
	if o.Directory == "" {
		a.manager.Client.DirectoryURL = autocert.DefaultACMEDirectory
	}
	// From now on http-01 is offered too; what it returns is not needed.
	a.manager.HTTPHandler(nil)
	return a, nil
}

// Serve says which names the authority may be asked for: the domains of groups. Those with
// a star, addresses, and names without a dot are left out: nobody could prove them.
func (a *Authority) Serve(names []string) {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if i := strings.LastIndexByte(n, '.'); i > 0 && !strings.ContainsAny(n, "*:/") && strings.Trim(n[i:], ".0123456789") != "" {
			set[n] = true
		}
	}
	a.names.Store(&set)
}

func (a *Authority) serves(name string) bool {
	set := a.names.Load()
	return set != nil && (*set)[name]
}

func (a *Authority) policy(_ context.Context, name string) error {
	if !a.serves(strings.ToLower(name)) {
		return ErrNoCertificate
	}
	return nil
}

func (a *Authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := a.manager.GetCertificate(hello)
	if err != nil {
		return nil, err
	}
	leaf, err := leafOf(c)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.ends[strings.ToLower(hello.ServerName)] = leaf.NotAfter
	a.mu.Unlock()
	return c, nil
}

func (a *Authority) expiries() (list []Expiry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, ends := range a.ends {
		if !a.serves(name) {
			delete(a.ends, name)
			continue
		}
		list = append(list, Expiry{Source: "acme", Names: []string{name}, Ends: ends})
	}
	return list
}

// ChallengePath begins the paths that are the authority's on port 80, and nobody else's.
const ChallengePath = "/.well-known/acme-challenge/"

// Challenge answers an authority that asks, on port 80, whether a host is ours.
func (a *Authority) Challenge(host, path string) (body []byte, ok bool) {
	if a == nil || !strings.HasPrefix(path, ChallengePath) {
		return nil, false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	w := &answer{header: http.Header{}}
	a.manager.HTTPHandler(nil).ServeHTTP(w, &http.Request{Method: http.MethodGet, Host: host, URL: &url.URL{Path: path}})
	return w.body, w.status == 0 || w.status == http.StatusOK
}

// answer keeps what a handler writes.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(s int)   { a.status = s }
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// isChallenge reports whether a handshake is an authority's that looks for its proof.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && slices.Contains(hello.SupportedProtos, acme.ALPNProto)
}

// newCache keeps files in a folder, encrypted if there is a key.
func newCache(folder string, key []byte) (autocert.Cache, error) {
	if key == nil {
		return autocert.DirCache(folder), nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("certificate: the key of the cache: %w", err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return sealed{autocert.DirCache(folder), gcm}, nil
}

// sealed is a cache whose entries nobody can read or exchange without the key.
type sealed struct {
	autocert.Cache
	with cipher.AEAD
}

func (c sealed) Get(ctx context.Context, name string) ([]byte, error) {
	b, err := c.Cache.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	open, err := c.with.Open(nil, nil, b, []byte(name))
	if err != nil {
		// Of another key: it is as if there were none, and a new one is asked for.
		return nil, autocert.ErrCacheMiss
	}
	return open, nil
}

func (c sealed) Put(ctx context.Context, name string, b []byte) error {
	return c.Cache.Put(ctx, name, c.with.Seal(nil, nil, b, []byte(name)))
}
