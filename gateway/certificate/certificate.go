// Package certificate has the certificates with which the gateway shows callers who it is:
// those that were uploaded for domains, those of files, and those that an authority gives
// by itself (ACME). A handshake asks for one by name; what there is can be replaced at any
// time, and connections that are open stay open.
//
// It leaves to the server which connections are TLS, and to the ledger where uploads are
// kept.
package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// Upload is a certificate as it is uploaded for domains.
type Upload struct {
	ID      string
	Domains []string // that it is to be shown for: "api.example.com", "*.example.com"
	Chain   []byte   // PEM, leaf first
	Key     []byte   // PEM
}

// Store knows which certificate belongs to which name. The zero value has none; its methods
// may be called from many goroutines.
type Store struct {
	// Authority gives certificates for names that have none here; nil: nobody does. It must
	// not be changed once the store is asked.
	Authority *Authority
	Now       func() time.Time // nil: time.Now

	table atomic.Pointer[table]

	mu       sync.Mutex // guards what the table is built of
	uploads  []*entry
	files    []*file
	fallback *entry
}

type table struct {
	names    map[string]*entry // "a.test", and "*.a.test"
	fallback *entry            // for who asks for no name, or for one that nobody has
	all      []*entry
}

type entry struct {
	source string // as people are told
	names  []string
	cert   *tls.Certificate
}

// ErrNoCertificate says that there is none for the name that was asked for. The handshake
// ends with it.
var ErrNoCertificate = errors.New("certificate: there is none for this name")

// Set replaces all uploads. Those that are sound are taken; the error names the others,
// each once, and says what is wrong with it.
func (s *Store) Set(list []Upload) error {
	var errs []error
	var entries []*entry
	for _, u := range list {
		cert, err := Check(u, s.now())
		if err != nil && !errors.As(err, new(*TimeError)) {
			errs = append(errs, fmt.Errorf("%s: %w", u.ID, err))
			continue
		}
		if err != nil { // one that has ended is still better than none, and is reported
			errs = append(errs, fmt.Errorf("%s: %w", u.ID, err))
		}
		entries = append(entries, &entry{source: u.ID, names: u.Domains, cert: cert})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads = entries
	s.build()
	return errors.Join(errs...)
}

// build makes the table anew. An upload goes before a file, and of two uploads for one name
// the one that ends later.
func (s *Store) build() {
	t := &table{names: map[string]*entry{}}
	put := func(e *entry) {
		t.all = append(t.all, e)
		for _, name := range e.names {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if old := t.names[name]; old == nil || old.cert.Leaf.NotAfter.Before(e.cert.Leaf.NotAfter) {
				t.names[name] = e
			}
		}
	}
	for _, e := range s.uploads {
		put(e)
	}
	for _, f := range s.files {
		t.all = append(t.all, f.entry)
		for _, name := range f.entry.names {
			if name = strings.ToLower(name); t.names[name] == nil {
				t.names[name] = f.entry
			}
		}
	}
	t.fallback = s.fallback
	s.table.Store(t)
}

func (s *Store) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// Config is what a listener of the gateway wants: the certificates, and defaults that
// refuse what is broken. protocols are offered in this order; with an authority its own is
// added.
func (s *Store) Config(protocols ...string) *tls.Config {
	if len(protocols) == 0 {
		protocols = []string{"h2", "http/1.1"}
	}
	if s.Authority != nil {
		protocols = append(slices.Clone(protocols), acme.ALPNProto)
	}
	return &tls.Config{
		GetCertificate: s.GetCertificate,
		NextProtos:     protocols,
		MinVersion:     tls.VersionTLS12,
		// For TLS 1.2: forward secrecy and authenticated encryption only. Those of 1.3 are all
		// of that kind.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}

// GetCertificate finds the certificate for a handshake: by the name itself, by the name
// with a star for its first part, from the authority, and last the first of the files.
func (s *Store) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.Authority != nil && isChallenge(hello) {
		return s.Authority.manager.GetCertificate(hello)
	}
	t := s.table.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if t != nil && name != "" {
		if e := t.find(name); e != nil {
			return e.cert, nil
		}
	}
	if s.Authority != nil && s.Authority.serves(name) {
		return s.Authority.certificate(hello)
	}
	if t != nil && t.fallback != nil {
		return t.fallback.cert, nil
	}
	return nil, ErrNoCertificate
}

func (t *table) find(name string) *entry {
	if e := t.names[name]; e != nil {
		return e
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		return t.names["*"+name[i:]] // a star stands for one part, as in RFC 6125
	}
	return nil
}

// Has reports whether there is a certificate for a name, or there will be one once it is
// asked for.
func (s *Store) Has(name string) bool {
	t := s.table.Load()
	name = strings.ToLower(name)
	return t != nil && t.find(name) != nil || s.Authority != nil && s.Authority.serves(name)
}

// Expiry is when a certificate ends.
type Expiry struct {
	Source string // the upload's ID, the file, or "acme"
	Names  []string
	Ends   time.Time
}

// Expiries are those of all certificates that there are, the next to end first.
func (s *Store) Expiries() []Expiry {
	var list []Expiry
	if t := s.table.Load(); t != nil {
		for _, e := range t.all {
			list = append(list, Expiry{Source: e.source, Names: e.names, Ends: e.cert.Leaf.NotAfter})
		}
	}
	if s.Authority != nil {
		list = append(list, s.Authority.expiries()...)
	}
	slices.SortFunc(list, func(a, b Expiry) int { return a.Ends.Compare(b.Ends) })
	return list
}

// NextExpiry is how long until the first certificate ends: a number for the metrics; the
// largest there is if there is no certificate.
func (s *Store) NextExpiry() time.Duration {
	if list := s.Expiries(); len(list) > 0 {
		return list[0].Ends.Sub(s.now())
	}
	return 1<<63 - 1
}

// leafOf reads the first certificate of a chain, if that was not done.
func leafOf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}
