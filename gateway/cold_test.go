package gateway_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// C6, C9, S6: a gateway whose database is away starts with what it knew last. It says 503 to
// calls that need the database, and never that somebody has no right; it is alive and not
// ready. When the database is back it serves, with every unit where it was.
func TestAStartWithoutTheDatabase(t *testing.T) {
	var away atomic.Bool
	h := gatewaytest.New(t, func(o *gateway.Options) {
		path := filepath.Join(o.Folder, "gateway.db")
		o.DB, o.OpenDB = nil, func() (*storage.DB, error) {
			if away.Load() {
				return nil, errors.New("the disk of the database is away")
			}
			return sqlite.Open(path)
		}
	})
	h.Group()
	c := h.App("hangzhou")
	grant := h.Grant("hangzhou", "weather", true)
	h.Apply(h.Route("weather", "ANY", "/[*]"), &control.Package{ID: "pkg_a", Grant: grant, Calls: 3, From: gatewaytest.Start, Live: true})
	right, wrong := "APPCODE "+c.AppCode, "APPCODE 00000000000000000000000000000000"
	if a := h.Call("GET", "/a", "", "Authorization", right); a.Status != 200 {
		t.Fatalf("with the database: %d %s", a.Status, a.Code())
	}
	away.Store(true)
	h.Restart()
	for name, x := range map[string]struct{ path, code, want string }{
		"who is known":     {"/a", right, "X503BZ"},
		"who is not known": {"/a", wrong, "X503BZ"},
		"nobody":           {"/a", "Basic eA==", "A400MA"},
	} {
		if a := h.Call("GET", x.path, "", "Authorization", x.code); a.Code() != x.want {
			t.Errorf("%s, without the database: %d %s, want %s", name, a.Status, a.Code(), x.want)
		}
	}
	if err := h.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "the ledger takes no writes") {
		t.Errorf("ready without the database: %v", err)
	}
	if err := h.Plane.Apply(t.Context(), &control.Grant{ID: "grt_x", App: "app_hangzhou", Product: "x", Live: true}); err == nil {
		t.Error("a change was taken")
	}
	away.Store(false)
	for deadline := time.Now().Add(10 * time.Second); h.Ready(t.Context()) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not find the database again")
		}
	}
	for _, want := range []string{"", "", "B403MQ"} {
		if a := h.Call("GET", "/a", "", "Authorization", right); a.Code() != want {
			t.Errorf("with the database again: %d %s, want %q", a.Status, a.Code(), want)
		}
	}
	if a := h.Call("GET", "/a", "", "Authorization", wrong); a.Code() != "A400AC" {
		t.Errorf("who is not known, with the database again: %s", a.Code())
	}
	b, err := h.Plane.Balances(t.Context(), grant)
	if err != nil || len(b) != 1 || b[0].Used != 3 {
		t.Errorf("%+v, %v", b, err)
	}
}
