package command

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/souk-market/souk/examples/demo"
	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// souk runs the program to its end.
func souk(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, &o, &e)
	return status, o.String(), e.String()
}

func TestExitCodes(t *testing.T) {
	is := func(want int, says string, args ...string) {
		t.Helper()
		if got, out, errs := souk(t, args...); got != want || !strings.Contains(out+errs, says) {
			t.Errorf("souk %s: status %d, want %d\n%s%s", strings.Join(args, " "), got, want, out, errs)
		}
	}
	folder := t.TempDir()
	is(0, "souk "+version, "version")
	is(0, "Available Commands", "--help")
	is(0, "complete", "completion", "bash")
	is(2, `"buy"`, "buy")
	is(2, "--cheap", "serve", "--cheap")
	is(2, "extra", "demo", "extra")
	is(2, "--out", "sdk", "openapi.yaml")
	is(2, "--secret", "sign", "--key", "k")
	is(2, "absolute", "sign", "--key", "k", "--secret", "s", "--url", "/path")
	is(2, "zone", "migrate", "--zone", "Mars/Olympus", "--data", folder)
	is(2, "log", "migrate", "--log", "loud", "--data", folder)
	is(2, "--gateway-tls", "migrate", "--acme", "letsencrypt", "--data", folder)
	is(2, "each chain needs its key", "migrate", "--tls-cert", "a.pem", "--data", folder)
	is(1, "no such file", "sdk", "--out", folder, filepath.Join(folder, "none.yaml"))
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag goes before the environment, and that before the file.
func TestWhereSettingsComeFrom(t *testing.T) {
	folder := t.TempDir()
	file := write(t, filepath.Join(folder, "souk.yaml"), "data: "+filepath.Join(folder, "file")+"\nshared-domains: [a.test, b.test]\n")
	made := func(name string) bool {
		_, err := os.Stat(filepath.Join(folder, name, house.GatewayFile))
		return err == nil
	}
	if s, _, errs := souk(t, "migrate", "--config", file); s != 0 || !made("file") {
		t.Errorf("by the file: status %d, %s", s, errs)
	}
	t.Setenv("SOUK_CONFIG", file)
	t.Setenv("SOUK_DATA", filepath.Join(folder, "environment"))
	if s, _, errs := souk(t, "migrate"); s != 0 || !made("environment") {
		t.Errorf("by the environment: status %d, %s", s, errs)
	}
	if s, _, errs := souk(t, "migrate", "--data", filepath.Join(folder, "flag")); s != 0 || !made("flag") {
		t.Errorf("by the flag: status %d, %s", s, errs)
	}
	write(t, file, "data: x\nconsol: 127.0.0.1:1\n")
	if s, _, errs := souk(t, "migrate"); s != 2 || !strings.Contains(errs, "consol") {
		t.Errorf("a misspelt setting: status %d, %s", s, errs)
	}
	t.Setenv("SOUK_CONFIG", "")
	t.Setenv("SOUK_ACCESS_LOG", "perhaps")
	if s, _, errs := souk(t, "migrate"); s != 2 || !strings.Contains(errs, "SOUK_ACCESS_LOG") {
		t.Errorf("a value that does not fit: status %d, %s", s, errs)
	}
	t.Setenv("SOUK_ACCESS_LOG", "true")
	t.Setenv("SOUK_MASTER_KEY", "short")
	if s, _, errs := souk(t, "migrate"); s != 2 || !strings.Contains(errs, "SOUK_MASTER_KEY") {
		t.Errorf("a short key: status %d, %s", s, errs)
	}
}

// screen is a terminal that can be read while it is written to.
type screen struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// begin starts a server and gives what ends it with the signal and reports its status.
func begin(t *testing.T, args ...string) (out *screen, end func() int) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out = &screen{}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, out, out) }()
	return out, func() int {
		stop()
		select {
		case status := <-ended:
			return status
		case <-time.After(time.Minute):
			t.Error("it does not end")
			return -1
		}
	}
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	if err := demo.Until(t.Context(), what, func() (bool, error) { return done(), nil }); err != nil {
		t.Fatal(err)
	}
}

func TestServeLetsTheFirstOperatorIn(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	addresses := []string{"--data", folder, "--console", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--ops", "127.0.0.1:0"}
	out, end := begin(t, append([]string{"serve"}, addresses...)...)
	until(t, "it prints the link", func() bool { return strings.Contains(out.String(), "/setup?token=") })
	link := strings.TrimSpace(out.String()[strings.LastIndex(out.String(), "http://"):])
	w, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Body.Close()
	if w.StatusCode != http.StatusOK {
		t.Errorf("%s: status %d", link, w.StatusCode)
	}
	if status := end(); status != 0 {
		t.Errorf("status %d after the signal\n%s", status, out)
	}
	if info, err := os.Stat(filepath.Join(folder, house.KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

func TestDemoWritesTheReadyFile(t *testing.T) {
	folder := t.TempDir()
	ready := filepath.Join(folder, "ready.json")
	out, end := begin(t, "demo", "--data", filepath.Join(folder, "demo"), "--ready-file", ready, "--json",
		"--console", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--ops", "127.0.0.1:0")
	until(t, "the ready file is there", func() bool { _, err := os.Stat(ready); return err == nil })
	text, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	var r demo.Ready
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{r.Console + "/", r.Ops + "/readyz", r.Upstream + "/weather/cities"} {
		w, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.Body.Close()
		if w.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d", address, w.StatusCode)
		}
	}
	until(t, "it prints the same", func() bool { return out.String() == string(text) })
	if status := end(); status != 0 {
		t.Errorf("status %d after the signal\n%s", status, out)
	}
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	s, out, errs := souk(t, "migrate", "--data", folder)
	if s != 0 || !strings.Contains(out, "plugin.order") || !strings.Contains(out, "gateway.db") {
		t.Fatalf("migrate: status %d\n%s%s", s, out, errs)
	}
	db, err := sqlite.Open(filepath.Join(folder, house.ConsoleFile))
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO schema_step (owner, number, name, digest, at) VALUES ('plugin.order', 99, 'later', 'x', 0)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"migrate", "serve"} {
		s, _, errs := souk(t, command, "--data", folder)
		if s != 1 || !strings.Contains(errs, "newer souk") || !strings.Contains(errs, "plugin.order") {
			t.Errorf("%s: status %d, %s", command, s, errs)
		}
	}
	s, out, _ = souk(t, "doctor", "--data", folder, "--console", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--ops", "127.0.0.1:0")
	if s != 1 || !strings.Contains(out, "FAULT  databases") {
		t.Errorf("doctor: status %d\n%s", s, out)
	}
}

func TestDoctorSaysWhatToDo(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "data")
	visit := func() (int, string) {
		t.Helper()
		s, out, _ := souk(t, "doctor", "--data", folder, "--console", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--ops", "127.0.0.1:0")
		return s, out
	}
	if s, out := visit(); s != 0 {
		t.Errorf("before the first start: status %d\n%s", s, out)
	}
	if s, _, errs := souk(t, "migrate", "--data", folder); s != 0 {
		t.Fatal(errs)
	}
	if s, out := visit(); s != 0 {
		t.Errorf("a good folder: status %d\n%s", s, out)
	}
	key := filepath.Join(folder, house.KeyFile)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if s, out := visit(); s != 1 || !strings.Contains(out, "chmod 600") {
		t.Errorf("a key that others read: status %d\n%s", s, out)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if s, out := visit(); s != 1 || !strings.Contains(out, "backup") {
		t.Errorf("a key that is gone: status %d\n%s", s, out)
	}
	if s, _, errs := souk(t, "migrate", "--data", folder); s != 1 || !strings.Contains(errs, house.KeyFile) {
		t.Errorf("another key would be made: status %d, %s", s, errs)
	}
}

func TestSignPrintsACallThatAShellUnderstands(t *testing.T) {
	s, out, errs := souk(t, "sign", "--key", "1", "--secret", "2", "--url", "http://h.test/a?b=1&a=%20", "--header", "X-It: isn't", "--body", `{"a":'1'}`, "--host", "g.test")
	if s != 0 {
		t.Fatal(errs)
	}
	for _, want := range []string{"POST\n*/*\n", "\napplication/json\n", "/a?a= &b=1", `-H 'X-It: isn'\''t'`, `--data-binary '{"a":'\''1'\''}'`, "-H 'Host: g.test'", "'http://h.test/a?b=1&a=%20'"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	t.Setenv("SOUK_SECRET", "from the environment")
	if s, _, errs := souk(t, "sign", "--key", "1", "--url", "http://h.test/"); s != 0 {
		t.Errorf("a secret from the environment: %s", errs)
	}
}

func TestSDKOnDisk(t *testing.T) {
	out := filepath.Join(t.TempDir(), "sdk")
	for _, language := range []string{"go", "python"} {
		s, _, errs := souk(t, "sdk", "--language", language, "--out", filepath.Join(out, language), "../seller-weather/weather/openapi.yaml")
		if s != 0 {
			t.Errorf("%s: %s", language, errs)
		}
		if _, err := os.Stat(filepath.Join(out, language, "README.md")); err != nil {
			t.Error(err)
		}
	}
	if s, _, errs := souk(t, "sdk", "--language", "latin", "--out", out, "../seller-weather/weather/openapi.yaml"); s != 2 || !strings.Contains(errs, "latin") {
		t.Errorf("status %d, %s", s, errs)
	}
}
