package certificate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// authority is a whole ACME authority in this process. It proves names by asking their
// addresses, all of which are this machine's.
type authority struct {
	*httptest.Server
	roots *x509.CertPool
}

func port(t *testing.T, l net.Listener) int {
	t.Helper()
	return l.Addr().(*net.TCPAddr).Port
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// portForBoth is an address that is free for TCP and for UDP, as a server of names wants.
func portForBoth(t *testing.T) string {
	t.Helper()
	for {
		l := listen(t)
		p, err := net.ListenPacket("udp", l.Addr().String())
		_ = l.Close() // it was only to find a port
		if err == nil {
			_ = p.Close() // as above
			return l.Addr().String()
		}
	}
}

// startAuthority begins one that asks these ports.
func startAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	at := portForBoth(t)
	quiet := log.New(io.Discard, "", 0)
	dns, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{at}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	dns.SetDefaultDNSIPv4("127.0.0.1")
	dns.SetDefaultDNSIPv6("")
	go dns.Run()
	t.Cleanup(dns.Shutdown)
	for _, network := range []string{"udp", "tcp"} {
		ask := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, at)
		}}
		ready, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for {
			if list, err := ask.LookupHost(ready, "ready.test."); err == nil && len(list) == 1 {
				break
			} else if ready.Err() != nil {
				t.Fatalf("the names are not answered by %s: %v", network, err)
			}
		}
	}
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: 7776000}})
	prover := va.New(quiet, httpPort, tlsPort, false, at, store)
	front := wfe.New(quiet, store, prover, issuer, []string{"pebble.test"}, false, false, 1, 1)
	a := &authority{Server: httptest.NewUnstartedServer(front.Handler()), roots: x509.NewCertPool()}
	a.Config.ErrorLog = quiet
	a.StartTLS()
	t.Cleanup(a.Close)
	a.roots.AddCert(issuer.GetRootCert(0).Cert)
	return a
}

func (a *authority) options(t *testing.T, folder string) AuthorityOptions {
	return AuthorityOptions{Directory: a.URL + wfe.DirectoryPath, Folder: folder, Email: "ops@souk.test", Client: a.Client(), Key: bytes.Repeat([]byte{7}, 32)}
}

// gatewayOn is the TLS side of a gateway.
func gatewayOn(t *testing.T, l net.Listener, s *Store) {
	t.Helper()
	config := s.Config("http/1.1")
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := s.GetCertificate(hello)
		if err != nil && !errors.Is(err, ErrNoCertificate) {
			t.Logf("%s: %v", hello.ServerName, err)
		}
		return c, err
	}
	tl := tls.NewListener(l, config)
	go func() {
		for {
			c, err := tl.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if c.(*tls.Conn).Handshake() != nil {
					return
				}
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
				}
			}()
		}
	}()
}

func call(a *authority, addr, name string) (*x509.Certificate, error) {
	d := &net.Dialer{Timeout: 20 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", addr, &tls.Config{RootCAs: a.roots, ServerName: name})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// A domain of a group gets a certificate when it is first called, by a handshake on the
// gateway's own port; after a restart it comes from the folder; other names get none.
func TestCertificatesByACMEOverTLS(t *testing.T) {
	l, nobody := listen(t), listen(t)
	a := startAuthority(t, port(t, nobody), port(t, l))
	_ = nobody.Close() // http-01 cannot work here
	folder := t.TempDir()
	auth, err := NewAuthority(a.options(t, folder))
	if err != nil {
		t.Fatal(err)
	}
	s := &Store{Authority: auth}
	gatewayOn(t, l, s)
	addr := l.Addr().String()
	if _, err := call(a, addr, "weather.souk.test"); err == nil {
		t.Error("a name that nobody serves got a certificate")
	}
	auth.Serve([]string{"Weather.souk.test", "*.souk.test", "127.0.0.1", "localhost"})
	cert, err := call(a, addr, "weather.souk.test")
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.VerifyHostname("weather.souk.test"); err != nil {
		t.Error(err)
	}
	if _, err := call(a, addr, "other.souk.test"); err == nil {
		t.Error("a name beside it got a certificate")
	}
	if list := s.Expiries(); len(list) != 1 || list[0].Source != "acme" || !list[0].Ends.Equal(cert.NotAfter) {
		t.Errorf("expiries %v", list)
	}

	// What is kept cannot be read without the key, and is enough to go on with.
	files, err := os.ReadDir(folder)
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files are kept, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(folder + "/" + f.Name())
		if err != nil || bytes.Contains(b, []byte("PRIVATE KEY")) {
			t.Errorf("%s: %v, it has a private key in the clear", f.Name(), err)
		}
	}
	asked := a.options(t, folder)
	a.Close() // the authority is gone
	again, err := NewAuthority(asked)
	if err != nil {
		t.Fatal(err)
	}
	again.Serve([]string{"weather.souk.test"})
	l2 := listen(t)
	gatewayOn(t, l2, &Store{Authority: again})
	kept, err := call(a, l2.Addr().String(), "weather.souk.test")
	if err != nil || !kept.Equal(cert) {
		t.Errorf("after a restart: %v", err)
	}
}

// Where only port 80 reaches us, the authority is answered there.
func TestCertificatesByACMEOverHTTP(t *testing.T) {
	plain, nobody, l := listen(t), listen(t), listen(t)
	a := startAuthority(t, port(t, plain), port(t, nobody))
	_ = nobody.Close() // tls-alpn-01 cannot work here
	auth, err := NewAuthority(a.options(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		body, ok := auth.Challenge(r.Host, r.URL.Path)
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write(body)
	})}
	go func() { _ = server.Serve(plain) }() // ends with Close
	defer server.Close()
	auth.Serve([]string{"weather.souk.test"})
	gatewayOn(t, l, &Store{Authority: auth})
	if _, err := call(a, l.Addr().String(), "weather.souk.test"); err != nil {
		t.Fatal(err)
	}
	if path := <-asked; !strings.HasPrefix(path, ChallengePath) {
		t.Errorf("asked for %s", path)
	}
}

func TestChallengesOfNobody(t *testing.T) {
	auth, err := NewAuthority(AuthorityOptions{Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", ChallengePath, ChallengePath + "x", "/.well-known/other"} {
		if body, ok := auth.Challenge("a.test", path); ok {
			t.Errorf("%s was answered with %q", path, body)
		}
	}
	var none *Authority
	if _, ok := none.Challenge("a.test", ChallengePath+"x"); ok {
		t.Error("no authority must answer nothing")
	}
	for _, o := range []AuthorityOptions{{}, {Folder: t.TempDir(), Directory: "http://a.test"}, {Folder: t.TempDir(), Directory: "x"}, {Folder: t.TempDir(), Key: []byte("short")}} {
		if _, err := NewAuthority(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
