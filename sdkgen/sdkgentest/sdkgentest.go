// Package sdkgentest is what the tests of every language need: descriptions, a gateway
// that checks signatures, hostile texts, and golden trees.
package sdkgentest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/sdkgen"
	"github.com/souk-market/souk/sdkgen/openapi"
	"github.com/souk-market/souk/signer"
)

var update = flag.Bool("update", false, "rewrite golden trees")

// room is the folder sdkgen.
func room() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

// Specs gives every description at hand, by name: the few that are kept in testdata, and
// the whole collection where it lies beside the repository.
func Specs(t testing.TB) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, dir := range []string{"testdata/specs", "../../shared/specs"} {
		files, err := filepath.Glob(filepath.Join(room(), dir, "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if ext := filepath.Ext(f); ext != ".json" && ext != ".yaml" {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.Base(f)] = data
		}
	}
	if len(found) < 12 {
		t.Fatalf("only %d descriptions found", len(found))
	}
	return found
}

// Kept gives a description of testdata.
func Kept(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(room(), "testdata/specs", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Product is all of a description as a product.
func Product(t testing.TB, name string, data []byte) sdkgen.Product {
	t.Helper()
	doc, err := openapi.Read(data)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p := sdkgen.Product{
		Title: doc.Title, Description: doc.Description, Document: doc,
		BaseURL: "https://api.example.com", Host: "group.example.com",
	}
	for _, op := range doc.Operations {
		p.Routes = append(p.Routes, sdkgen.Route{Method: op.Method, Path: op.Path})
	}
	return p
}

// Generate writes an SDK into a fresh folder.
func Generate(t testing.TB, in sdkgen.Input) (dir string, files []sdkgen.File) {
	t.Helper()
	files, err := sdkgen.Generate(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	Write(t, dir, files)
	return dir, files
}

// Write writes files below a folder.
func Write(t testing.TB, dir string, files []sdkgen.File) {
	t.Helper()
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Golden compares an SDK with the tree at testdata/golden/<name> of the calling test's
// folder. Files below core are left out: they are in the repository as they are.
func Golden(t *testing.T, name string, files []sdkgen.File, core string) {
	t.Helper()
	root := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, f := range files {
		if strings.HasPrefix(f.Name, core) {
			continue
		}
		// A golden go.mod would make a module of its folder, and golden Go files would be
		// compiled with us.
		path := filepath.Join(root, filepath.FromSlash(f.Name)+".golden")
		seen[path] = true
		if *update {
			Write(t, root, []sdkgen.File{{Name: f.Name + ".golden", Data: f.Data}})
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v; run go test ./sdkgen/... -update", err)
			continue
		}
		if !bytes.Equal(want, f.Data) {
			t.Errorf("%s differs; run go test ./sdkgen/... -update and look at the diff", path)
		}
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !seen[path] {
			t.Errorf("%s is no longer generated", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Tool finds a program. Without it the test says so and is over, or fails on CI: a
// missing program must not turn a check off unseen.
func Tool(t testing.TB, name string) (path string, ok bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path, true
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %v", name, err)
	}
	t.Logf("%s is missing, nothing was checked", name)
	return "", false
}

// Run runs a program in a folder and returns what it printed.
func Run(t testing.TB, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// The credentials that the Gateway knows.
const (
	AppKey    = "203753385"
	AppSecret = "k9JzQ2mVfS0xYtB7pLrW3nHcDgE5aUoX"
	AppCode   = "83359fd73fe94948385f570e3c139105"
)

// Environment is what a program needs to call a Gateway.
func (g *Gateway) Environment() []string {
	return []string{
		"SOUK_BASE_URL=" + g.URL, "SOUK_APP_KEY=" + AppKey, "SOUK_APP_SECRET=" + AppSecret,
		"SOUK_APP_CODE=", "SOUK_HOST=", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
	}
}

// Gateway checks every call as the real one does, canonical form only, and answers.
type Gateway struct {
	*httptest.Server
	// Answer answers a call whose credentials were right.
	Answer func(w http.ResponseWriter, r *http.Request, body []byte)

	mu     sync.Mutex // guards what follows
	calls  []string
	nonces map[string]bool
}

// NewGateway starts a gateway.
func NewGateway(t testing.TB, answer func(http.ResponseWriter, *http.Request, []byte)) *Gateway {
	t.Helper()
	g := &Gateway{Answer: answer, nonces: map[string]bool{}}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

// Calls lists what came: "GET host /path?query content-type body".
func (g *Gateway) Calls() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.calls...)
}

type headers http.Header

func (h headers) Header(name []byte) []byte { return []byte(http.Header(h).Get(string(name))) }

// ServeHTTP is the way of a call.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.calls = append(g.calls, strings.Join([]string{r.Method, r.Host, r.RequestURI, r.Header.Get("Content-Type"), string(body)}, " "))
	g.mu.Unlock()
	w.Header()["X-Ca-Request-Id"] = []string{"7B1B27B6-9E6C-4C4C-8F37-5F4A0D1E3C21"}
	if err := g.check(r, body); err != nil {
		var fault *signer.Fault
		if !errors.As(err, &fault) {
			fault = &signer.Fault{Code: "X500ER", Status: 500, Message: err.Error()}
		}
		Refuse(w, fault)
		return
	}
	g.Answer(w, r, body)
}

// Refuse answers as a gateway that turns a call away.
func Refuse(w http.ResponseWriter, f *signer.Fault) {
	w.Header()[signer.HeaderErrorCode] = []string{f.Code}
	w.Header()[signer.HeaderErrorMessage] = []string{f.Message}
	w.WriteHeader(f.Status)
}

func (g *Gateway) check(r *http.Request, body []byte) error {
	h := headers(r.Header)
	if !signer.IsSigned(h) {
		code, place := signer.AppCode([]byte(r.Header.Get("Authorization")), []byte(r.URL.RawQuery), nil)
		if place != signer.InHeader || string(code) != AppCode {
			return signer.UnknownCode
		}
		return nil
	}
	key, err := signer.Key(h)
	if err != nil {
		return err
	}
	if string(key) != AppKey {
		return signer.UnknownKey
	}
	var v signer.Verifier
	request := signer.Request{Method: []byte(r.Method), Target: []byte(r.RequestURI), Headers: h, Body: body}
	proof, err := v.Verify(&request, []byte(AppSecret), signer.Rules{Now: time.Now(), CanonicalOnly: true})
	if err != nil {
		return err
	}
	if len(proof.Nonce) == 0 {
		return signer.NonceRequired
	}
	if r.Header.Get("Accept") == "" {
		return &signer.Fault{Code: "I400MH", Status: 400, Message: "Header `Accept` is Required"}
	}
	if len(body) > 0 && !request.ReadsBody() {
		return &signer.Fault{Code: "I400MH", Status: 400, Message: "Header `Content-MD5` is Required"}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.nonces[string(proof.Nonce)] {
		return signer.NonceUsed
	}
	g.nonces[string(proof.Nonce)] = true
	return nil
}
