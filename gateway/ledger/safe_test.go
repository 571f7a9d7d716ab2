package ledger

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// No secret stands in the database's files in any usual spelling, nor a hash of an AppCode
// that could be guessed at. K1, K3.
func TestDumpHasNoSecret(t *testing.T) {
	folder := t.TempDir()
	l := on(t, file(t, filepath.Join(folder, "gateway.db")))
	var words []string
	for _, id := range []control.AppID{"app_a", "app_b"} {
		c, err := l.CreateApp(t.Context(), control.App{ID: id, Live: true})
		if err != nil {
			t.Fatal(err)
		}
		words = append(words, c.AppSecret, c.AppCode)
		if c, err = l.ResetSecret(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		words = append(words, c.AppSecret)
	}
	words = append(words, string(key(1)))
	noneIn(t, folder, "app_a", words)
}

// noneIn looks for words in all files of a folder, in every usual spelling. One word has to
// be there, or nothing was looked at.
func noneIn(t *testing.T, folder, present string, words []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	var dump []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, b...)
	}
	if !bytes.Contains(dump, []byte(present)) {
		t.Fatal("the dump is not one")
	}
	for _, w := range words {
		m5, s1, s256 := md5.Sum([]byte(w)), sha1.Sum([]byte(w)), sha256.Sum256([]byte(w))
		for _, raw := range []string{w, string(m5[:]), string(s1[:]), string(s256[:])} {
			for _, spelt := range []string{raw, hex.EncodeToString([]byte(raw)), strings.ToUpper(hex.EncodeToString([]byte(raw))),
				base64.StdEncoding.EncodeToString([]byte(raw)), base64.RawURLEncoding.EncodeToString([]byte(raw))} {
				if bytes.Contains(dump, []byte(spelt)) {
					t.Fatalf("a secret stands in the database as %q", spelt)
				}
			}
		}
	}
}

// A sealed secret opens for its own app and its own kind only. K1.
func TestSealsAreBound(t *testing.T) {
	l := fresh(t)
	for _, id := range []control.AppID{"app_a", "app_b"} {
		if _, err := l.CreateApp(t.Context(), control.App{ID: id, Live: true}); err != nil {
			t.Fatal(err)
		}
	}
	change := func(statement string) {
		t.Helper()
		if err := l.db.Load().Tx(t.Context(), func(tx *storage.Tx) error { _, err := tx.Exec(t.Context(), statement); return err }); err != nil {
			t.Fatal(err)
		}
	}
	change(`UPDATE gw_app SET secret = (SELECT secret FROM gw_app WHERE id = 'app_b') WHERE id = 'app_a'`)
	if _, err := l.Credentials(t.Context(), "app_a"); err == nil {
		t.Error("another app's secret was shown")
	}
	change(`UPDATE gw_app SET secret = code WHERE id = 'app_a'`)
	if _, err := l.Credentials(t.Context(), "app_a"); err == nil {
		t.Error("a code was shown as a secret")
	}
	change(`UPDATE gw_app SET secret = x'00' WHERE id = 'app_a'`)
	if _, err := l.Credentials(t.Context(), "app_a"); err == nil {
		t.Error("a stump was shown as a secret")
	}
	if _, err := l.Credentials(t.Context(), "app_b"); err != nil {
		t.Errorf("the other app: %v", err)
	}
}

// A wrong master key fails at the start, with a sentence, and harms nothing. K2.
func TestWrongMasterKey(t *testing.T) {
	db := file(t, filepath.Join(t.TempDir(), "gateway.db"))
	first, err := on(t, db).CreateApp(t.Context(), control.App{ID: "app_a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{DB: db, MasterKey: key(2)}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := Open(t.Context(), Options{DB: db, MasterKey: make([]byte, n)}); err == nil || !strings.Contains(err.Error(), "32") {
			t.Errorf("with %d bytes: %v", n, err)
		}
	}
	if again, err := on(t, db).Credentials(t.Context(), "app_a"); err != nil || again != first {
		t.Errorf("with the right one: %+v, %v", again, err)
	}
}
