package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// maker is an authority of the tests.
type maker struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

var (
	today  = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	serial atomic.Int64
)

func newMaker(t testing.TB) *maker {
	m := &maker{t: t, key: newKey(t)}
	m.cert = m.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, m.key, nil)
	return m
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (m *maker) sign(c *x509.Certificate, key crypto.Signer, by *maker) *x509.Certificate {
	m.t.Helper()
	c.SerialNumber = big.NewInt(serial.Add(1))
	if c.NotBefore.IsZero() {
		c.NotBefore, c.NotAfter = today.AddDate(0, -1, 0), today.AddDate(0, 2, 0)
	}
	parent, with := c, m.key
	if by != nil {
		parent, with = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), with)
	if err != nil {
		m.t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Fatal(err)
	}
	return parsed
}

// under is an authority that this one has signed.
func (m *maker) under() *maker {
	u := &maker{t: m.t, key: newKey(m.t)}
	u.cert = u.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, u.key, m)
	return u
}

// leaf makes an upload for names; change may change the certificate first.
func (m *maker) leaf(id string, key crypto.Signer, change func(*x509.Certificate), names ...string) Upload {
	m.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(c)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		m.t.Fatal(err)
	}
	return Upload{ID: id, Domains: names, Chain: inPEM(m.sign(c, key, m)), Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
}

func inPEM(list ...*x509.Certificate) (b []byte) {
	for _, c := range list {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return b
}

func clock() time.Time { return today }

// What is wrong with an upload is said in words that help.
func TestUploadsAreChecked(t *testing.T) {
	root := newMaker(t)
	between := root.under()
	key := newKey(t)
	good := between.leaf("crt_a", key, nil, "a.test", "*.b.test")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(u *Upload)
		want   string // empty: it is sound
	}{
		{"sound", func(*Upload) {}, ""},
		{"with the chain", func(u *Upload) { u.Chain = append(u.Chain, inPEM(between.cert, root.cert)...) }, ""},
		{"a name under the star", func(u *Upload) { u.Domains = []string{"x.b.test", "A.test"} }, ""},
		{"no PEM", func(u *Upload) { u.Chain = []byte("hello") }, "no certificate in PEM form"},
		{"a key in the chain", func(u *Upload) { u.Chain = append(u.Chain, u.Key...) }, "only certificates belong there"},
		{"broken", func(u *Upload) { u.Chain = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}) }, "certificate 1 of the chain cannot be read"},
		{"no key", func(u *Upload) { u.Key = u.Chain }, "no private key in PEM form"},
		{"another key", func(u *Upload) { u.Key = between.leaf("x", newKey(t), nil, "a.test").Key }, "the key is not that of the first certificate"},
		{"upside down", func(u *Upload) { u.Chain = append(inPEM(between.cert), u.Chain...) }, "the key is not that of the first certificate"},
		{"a gap", func(u *Upload) { u.Chain = append(u.Chain, inPEM(root.cert)...) }, "certificate 1 of the chain is not signed by certificate 2"},
		{"another name", func(u *Upload) { u.Domains = []string{"c.test"} }, "not for c.test; it is for a.test, *.b.test"},
		{"two parts under the star", func(u *Upload) { u.Domains = []string{"x.y.b.test"} }, "not for x.y.b.test"},
		{"a star it has not", func(u *Upload) { u.Domains = []string{"*.a.test"} }, "not for *.a.test"},
		{"no name", func(u *Upload) { u.Domains = nil }, "no domain is named"},
		{"ended", func(u *Upload) {
			*u = between.leaf("x", key, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = today.AddDate(0, -2, 0), today.Add(-time.Second) }, "a.test")
		}, "valid from 2026-09-24 until 2026-11-24 only"},
		{"to come", func(u *Upload) {
			*u = between.leaf("x", key, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = today.Add(time.Hour), today.AddDate(1, 0, 0) }, "a.test")
		}, "valid today"},
		{"an authority's", func(u *Upload) {
			*u = between.leaf("x", key, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, "a.test")
		}, "the first certificate is an authority's"},
		{"for mail", func(u *Upload) {
			*u = between.leaf("x", key, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }, "a.test")
		}, "not for servers"},
		{"a short key", func(u *Upload) { *u = between.leaf("x", small, nil, "a.test") }, "1024 bits"},
	} {
		u := good
		u.Chain = append([]byte(nil), good.Chain...)
		c.change(&u)
		cert, err := Check(u, today)
		switch {
		case c.want == "" && (err != nil || cert == nil || cert.Leaf == nil):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func shown(s *Store, name string) string {
	c, err := s.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		return err.Error()
	}
	return c.Leaf.Subject.CommonName
}

// The name decides; the star stands for one part; a longer life goes first.
func TestTheNameFindsTheCertificate(t *testing.T) {
	m := newMaker(t)
	s := &Store{Now: clock}
	if got := shown(s, "a.test"); got != ErrNoCertificate.Error() {
		t.Errorf("an empty store: %s", got)
	}
	star := m.leaf("crt_star", newKey(t), nil, "*.a.test")
	one := m.leaf("crt_one", newKey(t), nil, "one.a.test")
	long := m.leaf("crt_long", newKey(t), func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotBefore, c.NotAfter = "long", today.AddDate(0, -1, 0), today.AddDate(0, 3, 0)
	}, "one.a.test")
	bad := Upload{ID: "crt_bad", Domains: []string{"bad.test"}, Chain: []byte("x")}
	err := s.Set([]Upload{star, long, one, bad})
	if err == nil || !strings.HasPrefix(err.Error(), "crt_bad: ") || strings.Contains(err.Error(), "crt_one") {
		t.Errorf("the error is %v", err)
	}
	for name, want := range map[string]string{
		"one.a.test": "long", "ONE.a.test.": "long", "two.a.test": "*.a.test", "x.y.a.test": ErrNoCertificate.Error(), "a.test": ErrNoCertificate.Error(),
		"bad.test": ErrNoCertificate.Error(), "": ErrNoCertificate.Error(), ".": ErrNoCertificate.Error(),
	} {
		if got := shown(s, name); got != want {
			t.Errorf("%q is shown %s, want %s", name, got, want)
		}
	}
	if !s.Has("two.A.test") || s.Has("other.test") {
		t.Error("Has must know what there is")
	}
	list := s.Expiries()
	if len(list) != 3 || list[2].Source != "crt_long" || s.NextExpiry() != today.AddDate(0, 2, 0).Sub(today) {
		t.Errorf("expiries %v, next %v", list, s.NextExpiry())
	}
	// One that has ended is shown rather than none, and told of.
	old := m.leaf("crt_old", newKey(t), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = today.AddDate(0, -2, 0), today.AddDate(0, -1, 0) }, "old.test")
	var late *TimeError
	if err := s.Set([]Upload{old}); !errors.As(err, &late) || shown(s, "old.test") != "old.test" || s.NextExpiry() > 0 {
		t.Errorf("one that has ended: %v, shown %s", err, shown(s, "old.test"))
	}
	if shown(s, "one.a.test") != ErrNoCertificate.Error() {
		t.Error("Set must replace what was there")
	}
}

func TestCertificatesOfFiles(t *testing.T) {
	m := newMaker(t)
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	put := func(u Upload) {
		t.Helper()
		if err := errors.Join(os.WriteFile(chain, u.Chain, 0o600), os.WriteFile(key, u.Key, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := &Store{Now: clock}
	if err := s.AddFiles(chain, key); err == nil || !strings.Contains(err.Error(), "chain.pem") {
		t.Errorf("files that are not there: %v", err)
	}
	put(m.leaf("", newKey(t), nil, "a.test"))
	if err := s.AddFiles(chain, key); err != nil {
		t.Fatal(err)
	}
	// It is also for those who ask for nothing that we have.
	for _, name := range []string{"a.test", "", "nobody.test"} {
		if got := shown(s, name); got != "a.test" {
			t.Errorf("%q is shown %s", name, got)
		}
	}
	put(m.leaf("", newKey(t), nil, "b.test"))
	if err := s.Reload(); err != nil || shown(s, "b.test") != "b.test" || shown(s, "") != "b.test" {
		t.Errorf("after a change: %v, shown %s", err, shown(s, "b.test"))
	}
	if err := os.WriteFile(key, []byte("half of a k"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil || shown(s, "b.test") != "b.test" {
		t.Errorf("a broken key: %v, shown %s", err, shown(s, "b.test"))
	}
	// An upload goes before a file.
	if err := s.Set([]Upload{m.leaf("crt_b", newKey(t), func(c *x509.Certificate) { c.Subject.CommonName = "uploaded" }, "b.test")}); err != nil || shown(s, "b.test") != "uploaded" {
		t.Errorf("an upload: %v, shown %s", err, shown(s, "b.test"))
	}
}

// Nobody talks to us in a way that is known to be broken.
func TestOldTLSIsRefused(t *testing.T) {
	m := newMaker(t)
	s := &Store{Now: clock}
	if err := s.Set([]Upload{m.leaf("crt_a", newKey(t), nil, "a.test")}); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(m.cert)
	for _, c := range []struct {
		name string
		with *tls.Config
		good bool
	}{
		{"1.3", &tls.Config{}, true},
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"no forward secrecy", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_GCM_SHA256}}, false},
		{"CBC", &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}, false},
		{"a name that nobody has", &tls.Config{ServerName: "b.test"}, false},
	} {
		a, b := net.Pipe()
		server := tls.Server(a, s.Config())
		done := make(chan error, 1)
		go func() { done <- server.Handshake(); _ = a.Close() }()
		c.with.RootCAs, c.with.Time = pool, clock
		if c.with.ServerName == "" {
			c.with.ServerName = "a.test"
		}
		c.with.NextProtos = []string{"http/1.1"}
		client := tls.Client(b, c.with)
		err := client.Handshake()
		if (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
		_ = b.Close()
		<-done
	}
}

// X29: certificates are renewed under load; no connection drops, and new ones see the new
// certificate.
func TestRenewalDropsNoConnection(t *testing.T) {
	m := newMaker(t)
	s := &Store{}
	made := func() Upload {
		return m.leaf("crt_a", newKey(t), func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		}, "a.test")
	}
	m.cert.NotAfter = time.Now().Add(time.Hour)
	first := made()
	if err := s.Set([]Upload{first}); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", s.Config("http/1.1"))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer server.Close()
	pool := x509.NewCertPool()
	pool.AddCert(m.cert)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	var calls atomic.Int64
	kept := func(keep bool) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "a.test", Time: clock}, DisableKeepAlives: !keep}
		tr.TLSClientConfig.Time = nil
		tr.TLSClientConfig.InsecureSkipVerify = true // the dates of the maker are the tests'
		defer tr.CloseIdleConnections()
		for {
			select {
			case <-stop:
				return
			default:
			}
			a, err := (&http.Client{Transport: tr}).Get("https://" + l.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, a.Body) // two bytes
			_ = a.Body.Close()
			calls.Add(1)
		}
	}
	for i := range 4 {
		wait.Go(func() { kept(i%2 == 0) })
	}
	var last Upload
	for range 20 {
		last = made()
		if err := s.Set([]Upload{last}); err != nil {
			t.Error(err)
		}
		for n := calls.Load(); calls.Load() < n+20 && !t.Failed(); {
			time.Sleep(time.Millisecond) // until calls have met this certificate
		}
	}
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := inPEM(c.ConnectionState().PeerCertificates[0]); string(got) != string(last.Chain) {
		t.Error("a new connection sees an old certificate")
	}
	close(stop)
	wait.Wait()
}

func BenchmarkFindACertificate(b *testing.B) {
	m := newMaker(b)
	s := &Store{Now: clock}
	if err := s.Set([]Upload{m.leaf("crt", newKey(b), nil, "*.a.test")}); err != nil {
		b.Fatal(err)
	}
	hello := &tls.ClientHelloInfo{ServerName: "one.a.test"}
	for b.Loop() {
		if _, err := s.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
}
