package gateway_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// own is a certificate of our own for a name, that ends after the year of the tests.
func own(t *testing.T, serial int64, names ...string) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: gatewaytest.Start.Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// locked is a house that is called over TLS.
func locked(t *testing.T, change func(*control.Route)) (h *gatewaytest.House, address, credential string, grant control.GrantID) {
	t.Helper()
	h = gatewaytest.New(t, func(o *gateway.Options) { o.Certificates = &certificate.Store{} })
	h.Group()
	c := h.App("hangzhou")
	grant = h.Grant("hangzhou", "weather", true)
	r := h.Route("weather", "ANY", "/[*]")
	if change != nil {
		change(r)
	}
	h.Apply(r, &control.Package{ID: "pkg_a", Grant: grant, Calls: 100, From: gatewaytest.Start, Live: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- h.ServeTLS(l) }()
	t.Cleanup(func() {
		if err := h.Close(t.Context()); err != nil {
			t.Log(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h, l.Addr().String(), "APPCODE " + c.AppCode, grant
}

func client(t *testing.T, address string, chain []byte, two bool) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(chain)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: gatewaytest.Domain}, ForceAttemptHTTP2: two}
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(!two)
	tr.Protocols.SetHTTP2(two)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// Over TLS the same row answers, by HTTP/1.1 and by HTTP/2; the certificate is what the
// configuration says, and another takes its place without a dropped connection. X29, N6.
func TestCallsOverTLS(t *testing.T) {
	h, address, credential, grant := locked(t, func(r *control.Route) { r.Secure = true })
	first, key := own(t, 1, gatewaytest.Domain)
	h.Apply(&control.Secret{ID: "sec_a", Value: key, Live: true},
		&control.Certificate{ID: "crt_a", Domains: []string{gatewaytest.Domain}, Chain: string(first), Key: "sec_a", Live: true})
	left := h.Left(grant)
	for _, two := range []bool{false, true} {
		c := client(t, address, first, two)
		for range 3 {
			r, err := http.NewRequest("POST", "https://"+address+"/a?b=%20", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			r.Host = gatewaytest.Domain
			r.Header.Set("Authorization", credential)
			a, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(a.Body)
			_ = a.Body.Close()
			if err != nil || a.StatusCode != 200 || string(body) != "ok" || a.ProtoMajor == 2 != two || len(a.Header.Get("X-Ca-Request-Id")) != 36 {
				t.Errorf("%v: %+v %q, %v", two, a, body, err)
			}
			left--
		}
		for _, asked := range h.Seller.Asked() {
			if !strings.Contains(asked, "POST /a?b=%20 HTTP/1.1\r\n") || !strings.Contains(asked, "X-Forwarded-Proto: https\r\n") || !strings.HasSuffix(asked, "\r\n\r\nbody") {
				t.Errorf("the seller saw %q", asked)
			}
		}
		r, err := http.NewRequest("GET", "https://"+address+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = gatewaytest.Domain
		a, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if a.StatusCode != 400 || a.Header.Get("X-Ca-Error-Code") != "A400MA" {
			t.Errorf("without a credential: %+v", a)
		}
		// The next certificate; the connection that is open goes on.
		second, key := own(t, 2, gatewaytest.Domain)
		h.Apply(&control.Secret{ID: "sec_a", Value: key, Live: true},
			&control.Certificate{ID: "crt_a", Domains: []string{gatewaytest.Domain}, Chain: string(second), Key: "sec_a", Live: true})
		if a, err := c.Do(r); err != nil {
			t.Errorf("the old connection: %v", err)
		} else {
			_ = a.Body.Close()
		}
		if a, err := client(t, address, second, two).Do(r); err != nil {
			t.Errorf("a new connection: %v", err)
		} else {
			_ = a.Body.Close()
		}
		first = second
	}
	if got := h.Left(grant); got != left {
		t.Errorf("%d calls left, want %d", got, left)
	}
	if a := h.Call("GET", "/a", "", "Authorization", credential); a.Code() != "I403PT" {
		t.Errorf("in the clear: %+v", a)
	}
}

// gRPC goes through from end to end: HTTP/2 on both sides, streams both ways, trailers.
func TestTrailersReachTheCaller(t *testing.T) {
	seller := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Grpc-Status")
		w.Header().Set("Content-Type", "application/grpc")
		room := make([]byte, 64)
		for {
			n, err := r.Body.Read(room)
			_, _ = w.Write(bytes.ToUpper(room[:n]))
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				break
			}
		}
		w.Header().Set("Grpc-Status", "0")
	}))
	seller.EnableHTTP2 = true
	seller.StartTLS()
	t.Cleanup(seller.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: seller.Certificate().Raw}))
	h, address, credential, _ := locked(t, nil)
	r := h.Route("weather", "POST", "/pkg.Service/Method")
	r.Via = "ups_grpc"
	chain, key := own(t, 1, gatewaytest.Domain)
	h.Apply(&control.Upstream{ID: "ups_grpc", Targets: []control.Target{{URL: seller.URL}}, Protocol: "grpc", TLS: &control.UpstreamTLS{CA: ca, Name: "example.com"}}, r,
		&control.Secret{ID: "sec_a", Value: key, Live: true},
		&control.Certificate{ID: "crt_a", Domains: []string{gatewaytest.Domain}, Chain: string(chain), Key: "sec_a", Live: true})
	in, out := io.Pipe()
	request, err := http.NewRequest("POST", "https://"+address+"/pkg.Service/Method", in)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = gatewaytest.Domain
	request.Header.Set("Authorization", credential)
	request.Header.Set("Te", "trailers")
	go func() { _, _ = io.WriteString(out, "first") }()
	a, err := client(t, address, chain, true).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	room := make([]byte, 6)
	if _, err := io.ReadFull(a.Body, room[:5]); err != nil || string(room[:5]) != "FIRST" {
		t.Fatalf("%d %q %q, %v", a.StatusCode, a.Header.Get("X-Ca-Error-Code"), room, err)
	}
	_, _ = io.WriteString(out, "second")
	if _, err := io.ReadFull(a.Body, room); err != nil || string(room) != "SECOND" {
		t.Errorf("%q, %v", room, err)
	}
	_ = out.Close()
	if rest, err := io.ReadAll(a.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if got := a.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("the trailer: %q", got)
	}
}

// An AppCode in the clear is refused where the group or the operator says so, and one that
// came by https to a balancer that is trusted is not; only such a one may say who calls.
// API-07, S7.
func TestAppCodesInTheClear(t *testing.T) {
	for name, c := range map[string]struct {
		group, operator bool
		proxies         []netip.Prefix
		headers         []string
		code, from      string
	}{
		"by default":                  {code: "", from: "127.0.0.1"},
		"the group wants https":       {group: true, code: "A401AC"},
		"the operator wants https":    {operator: true, code: "A401AC"},
		"a stranger says https":       {group: true, headers: []string{"X-Forwarded-Proto", "https"}, code: "A401AC"},
		"a balancer says https":       {group: true, proxies: loopback, headers: []string{"X-Forwarded-Proto", "https", "X-Forwarded-For", "6.6.6.6, 192.0.2.7"}, from: "192.0.2.7, 127.0.0.1"},
		"a chain of balancers":        {proxies: loopback, headers: []string{"X-Forwarded-For", "192.0.2.7, 127.0.0.9"}, from: "192.0.2.7, 127.0.0.1"},
		"a stranger says who he is":   {headers: []string{"X-Forwarded-For", "192.0.2.7"}, from: "127.0.0.1"},
		"a balancer says nonsense":    {proxies: loopback, headers: []string{"X-Forwarded-For", "192.0.2.7, nobody"}, from: "127.0.0.1"},
		"the balancer says it itself": {group: true, proxies: loopback, code: "A401AC"},
	} {
		t.Run(name, func(t *testing.T) {
			h := gatewaytest.New(t, func(o *gateway.Options) { o.SecureAppCodes, o.TrustedProxies = c.operator, c.proxies })
			h.Apply(&control.Group{ID: "grp_test", Domains: []string{gatewaytest.Domain}, SecureAppCode: c.group, Live: true})
			app := h.App("hangzhou")
			grant := h.Grant("hangzhou", "weather", true)
			h.Apply(h.Route("weather", "GET", "/a"), &control.Package{ID: "pkg_a", Grant: grant, Calls: 10, From: gatewaytest.Start, Live: true})
			a := h.Call("GET", "/a", "", append(c.headers, "Authorization", "APPCODE "+app.AppCode)...)
			if a.Code() != c.code {
				t.Errorf("%+v, want %q", a, c.code)
			}
			if c.code != "" {
				return
			}
			if asked := h.Seller.Asked(); len(asked) != 1 || !strings.Contains(asked[0], "\r\nX-Forwarded-For: "+c.from+"\r\n") {
				t.Errorf("the seller saw %q, want the caller %s", asked, c.from)
			}
		})
	}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
