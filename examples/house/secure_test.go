package house

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
)

// certify writes a fresh certificate for a name into files.
func certify(t *testing.T, f CertificateFiles, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(f.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: inner}), 0o600)); err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// Apps call over TLS, by HTTP/2 and HTTP/1.1, with a certificate of files that may change
// while they do (X29); each call is counted.
func TestCallsOverTLS(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto"))
	}))
	defer up.Close()
	dir := t.TempDir()
	files := CertificateFiles{Chain: filepath.Join(dir, "chain.pem"), Key: filepath.Join(dir, "key.pem")}
	cert := certify(t, files, "a.test")
	h := start(t, Options{Folder: t.TempDir(), Gateway: "127.0.0.1:0", GatewayTLS: "127.0.0.1:0", Certificates: []CertificateFiles{files}, AllowPrivateUpstreams: true})
	defer stop(t, h)
	if len(h.Listeners()) != 2 || h.Listeners()["gateway over TLS"] == nil {
		t.Errorf("listeners to hand over: %v", h.Listeners())
	}
	app, err := h.plane.CreateApp(t.Context(), control.App{ID: "app_1", Owner: "acc_1", Name: "one", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.plane.Apply(t.Context(), &control.Group{ID: "grp_1", Name: "one", Domains: []string{"a.test"}, Live: true},
		&control.Route{ID: "rte_1", Group: "grp_1", Product: "prd_1", Method: "GET", Path: "/x", Upstream: up.URL, Secure: true, Live: true},
		&control.Grant{ID: "grt_1", App: "app_1", Product: "prd_1", Live: true},
		&control.Package{ID: "pkg_1", Grant: "grt_1", Calls: 100, From: time.Now().Add(-time.Hour), Live: true}); err != nil {
		t.Fatal(err)
	}
	client := func(two bool) *http.Client {
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "a.test"}, ForceAttemptHTTP2: two}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	call := func(c *http.Client, major int) {
		t.Helper()
		r, err := http.NewRequest("GET", "https://"+h.GatewayTLS+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "a.test"
		r.Header.Set("Authorization", "APPCODE "+app.AppCode)
		a, err := c.Do(r)
		if err != nil {
			t.Error(err)
			return
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil || a.StatusCode != 200 || string(body) != "https" || a.ProtoMajor != major {
			t.Errorf("HTTP/%d: %s %q, %v, %s", a.ProtoMajor, a.Status, body, err, a.Header.Get("X-Ca-Error-Message"))
		}
	}
	two, one := client(true), client(false)
	call(two, 2)
	call(one, 1)
	cert = certify(t, files, "a.test")
	if err := h.Reload(); err != nil {
		t.Fatal(err)
	}
	call(two, 2) // on its old connection
	call(one, 1)
	call(client(true), 2) // which believes the new certificate only
	if err := h.plane.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := h.plane.Balances(t.Context(), "grt_1")
	if err != nil || len(list) != 1 || list[0].Used != 5 {
		t.Errorf("%+v, %v: want 5 calls", list, err)
	}
}

func TestTLSNeedsAGatewayAndSoundFiles(t *testing.T) {
	dir := t.TempDir()
	files := CertificateFiles{Chain: filepath.Join(dir, "chain.pem"), Key: filepath.Join(dir, "key.pem")}
	if _, err := Open(t.Context(), Options{Folder: t.TempDir(), Gateway: "127.0.0.1:0", GatewayTLS: "127.0.0.1:0", Certificates: []CertificateFiles{files}}); err == nil || !strings.Contains(err.Error(), "chain.pem") {
		t.Errorf("files that are not there: %v", err)
	}
	certify(t, files, "a.test")
	if _, err := Open(t.Context(), Options{Folder: t.TempDir(), Console: "127.0.0.1:0", GatewayTLS: "127.0.0.1:0", Certificates: []CertificateFiles{files}}); err == nil || !strings.Contains(err.Error(), "no gateway here") {
		t.Errorf("no gateway: %v", err)
	}
}
