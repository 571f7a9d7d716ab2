package apis

import (
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// What a group had as two numbers is two limits afterwards, and the gateway hears the same.
func TestOldThrottlesBecomeLimits(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "console.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	all := new(Plugin).Schema()
	first, err := fs.ReadFile(all, "0001_apis.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "plugin.apis", fstest.MapFS{"0001_apis.sql": {Data: first}}); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), func(tx *storage.Tx) error {
		for n, was := range []struct{ app, route int }{{0, 0}, {5, 0}, {0, 70}, {5, 70}} {
			id := string(rune('a' + n))
			if _, err := tx.Exec(t.Context(), `INSERT INTO apis_group (id, seller, name, domain, upstream, timeout, appcode, sha1, perapp, perroute, file, version, document, product, charge, created, moved)
				VALUES (?, 'acc_1', '{"en":"one"}', ?, 'https://a.example', 10000, 'DEFAULT', 0, ?, ?, '', '', '', '', '', 0, 0)`, id, id+".test", was.app, was.route); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), "plugin.apis", all); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]map[control.By]int64{"a": {}, "b": {control.ByApp: 5}, "c": {control.ByRoute: 70}, "d": {control.ByApp: 5, control.ByRoute: 70}} {
		g, err := findAny(t.Context(), db.Read(), market.SourceID(id))
		if err != nil {
			t.Fatal(err)
		}
		w := &whole{group: g}
		limits := w.limits("")
		if len(limits) != len(want) {
			t.Errorf("%s: %+v", id, limits)
		}
		for _, l := range limits {
			if l.Calls != want[l.By] || l.Window.Seconds() != 1 || l.Name == "" {
				t.Errorf("%s: %+v, want %v", id, l, want)
			}
		}
	}
}

// On the shared domains two sellers who use the same word have two breakers.
func TestBreakersStayApart(t *testing.T) {
	with := func(filter, text string) string {
		return string(apart(control.FilterSetting{Filter: filter, With: control.Raw(text)}, "grp_a"))
	}
	for _, c := range []struct{ filter, is, want string }{
		{"breaker", `{"share":"billing","failures":3}`, `{"failures":3,"share":"grp_a billing"}`},
		{"breaker", `{"Share":"billing"}`, `{"Share":"grp_a billing"}`},
		{"breaker", `{"failures":3}`, `{"failures":3}`},
		{"cors", `{"share":"billing"}`, `{"share":"billing"}`},
	} {
		if got := with(c.filter, c.is); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.filter, c.is, got, c.want)
		}
	}
}
