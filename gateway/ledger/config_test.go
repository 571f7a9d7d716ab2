package ledger

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// pair is a certificate for domains, and its private key.
func pair(t testing.TB, domains ...string) (chain string, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "souk test"}, DNSNames: domains,
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(365 * 24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: b})
}

func upstream() *control.Upstream {
	return &control.Upstream{ID: "ups_a", Name: "a", Targets: []control.Target{{URL: "https://one.seller.test/base"}, {URL: "https://two.seller.test", Weight: 2}}}
}

// Each change of the data plane is refused for each thing that it can have wrong, with the
// field, and is taken where it is right.
func TestWhatAChangeCanHaveWrong(t *testing.T) {
	l := fresh(t)
	chain, key := pair(t, "api.test", "*.b.test")
	tellAll(t, l, group("grp_a", "a.test"), &control.Secret{ID: "sec_a", Value: key, Live: true}, &control.Secret{ID: "sec_b", Value: []byte("x"), Live: true}, upstream())
	limit := func(f func(*control.Limit)) *control.Group {
		g := group("grp_a", "a.test")
		g.Limits = []control.Limit{{Name: "l", By: control.ByApp, Calls: 1, Window: time.Second}}
		f(&g.Limits[0])
		return g
	}
	of := func(f func(*control.Route)) *control.Route {
		r := route("rte_a")
		r.Path, r.UpstreamPath = "/a/[id]", "/b/[key]"
		f(r)
		return r
	}
	up := func(f func(*control.Upstream)) *control.Upstream {
		u := upstream()
		f(u)
		return u
	}
	cert := func(f func(*control.Certificate)) *control.Certificate {
		c := &control.Certificate{ID: "crt_a", Domains: []string{"api.test", "*.b.test"}, Chain: chain, Key: "sec_a", Live: true}
		f(c)
		return c
	}
	for _, good := range []control.Change{
		limit(func(*control.Limit) {}),
		limit(func(l *control.Limit) { l.By, l.Param = control.ByParam, "query:city" }),
		limit(func(l *control.Limit) { l.Calls, l.Special = 0, map[string]int64{"app_a": 0} }),
		limit(func(l *control.Limit) { l.Smooth, l.Burst, l.Shared = true, 5, true }),
		of(func(r *control.Route) {
			r.Mode = control.Mapped
			r.Parameters = []control.Parameter{{Name: "id", In: control.InPath, ToName: "key"}, {Name: "q", In: control.InQuery, To: control.InHeader, ToName: "X-Q"}}
			r.Constants = []control.Constant{{Name: "X-App", In: control.InHeader, System: "CaAppId"}, {Name: "v", In: control.InQuery, Value: "2"}}
		}),
		of(func(r *control.Route) { r.Upstream, r.Via = "", "ups_a" }),
		of(func(r *control.Route) {
			r.Upstream, r.Mock = "", &control.Mock{Status: 200, Headers: [][]string{{"X-A", "b"}}, Body: "{}"}
		}),
		up(func(u *control.Upstream) {
			u.Spread, u.HashOn, u.Protocol = control.ConsistentHash, "header:X-User", "h2"
			u.TLS = &control.UpstreamTLS{Name: "seller.test", CA: chain, Pin: []string{"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, Cert: chain, Key: "sec_a"}
			u.Health, u.Outlier = &control.Health{Path: "/health", Every: time.Second}, &control.Outlier{}
		}),
		cert(func(*control.Certificate) {}),
	} {
		if err := l.Apply(t.Context(), good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, c := range []struct {
		bad  control.Change
		word string
	}{
		{&control.Group{ID: "grp_b", Domains: []string{"b.test"}, TestDomain: "c.test"}, "test_domain"},
		{group("grp_b", "b.test", "b.test"), "twice"},
		{&control.Group{ID: "grp_b", Domains: []string{"b.test"}, Filters: []control.FilterSetting{{}}}, "filter 1"},
		{limit(func(l *control.Limit) { l.By = "shoe" }), "shoe"},
		{limit(func(l *control.Limit) { l.Calls = 0 }), "calls"},
		{limit(func(l *control.Limit) { l.Window = 0 }), "window"},
		{limit(func(l *control.Limit) { l.Burst = 3 }), "burst"},
		{limit(func(l *control.Limit) { l.By, l.Param = control.ByParam, "cookie:a" }), "cookie:a"},
		{limit(func(l *control.Limit) { l.Param = "query:a" }), "param"},
		{limit(func(l *control.Limit) { l.Name, l.Shared = "", true }), "shared"},
		{limit(func(l *control.Limit) { l.By, l.Special = control.ByAddress, map[string]int64{"a": 1} }), "special"},
		{limit(func(l *control.Limit) { l.Special = map[string]int64{"app_a": -1} }), "app_a"},
		{of(func(r *control.Route) { r.Upstream = "https://u:p@seller.test" }), "user"},
		{of(func(r *control.Route) { r.Upstream = "https://seller.test/?a=1" }), "query"},
		{of(func(r *control.Route) { r.Upstream = "" }), "upstream"},
		{of(func(r *control.Route) { r.Via = "ups_nobody" }), "ups_nobody"},
		{of(func(r *control.Route) { r.Mode = "free" }), "free"},
		{of(func(r *control.Route) { r.Parameters = []control.Parameter{{Name: "x", In: control.InPath}} }), "[x]"},
		{of(func(r *control.Route) { r.Parameters = []control.Parameter{{Name: "id", In: control.InPath}} }), "[id]"},
		{of(func(r *control.Route) { r.Parameters = []control.Parameter{{Name: "x", In: "cookie"}} }), "cookie"},
		{of(func(r *control.Route) { r.Parameters = []control.Parameter{{In: control.InQuery}} }), "name"},
		{of(func(r *control.Route) {
			r.Parameters = []control.Parameter{{Name: "X-A", In: control.InHeader}, {Name: "x-a", In: control.InHeader}}
		}), "twice"},
		{of(func(r *control.Route) {
			r.Parameters = []control.Parameter{{Name: "a", In: control.InQuery, To: control.InHeader, ToName: "Transfer-Encoding"}}
		}), "Transfer-Encoding"},
		{of(func(r *control.Route) {
			r.Constants = []control.Constant{{Name: "X-A", In: control.InHeader, Value: "a\r\nB: c"}}
		}), "X-A"},
		{of(func(r *control.Route) { r.Constants = []control.Constant{{Name: "Host", In: control.InHeader}} }), "Host"},
		{of(func(r *control.Route) {
			r.Constants = []control.Constant{{Name: "a", In: control.InQuery, System: "CaSecret"}}
		}), "CaSecret"},
		{of(func(r *control.Route) { r.Mock = &control.Mock{Status: 100} }), "100"},
		{of(func(r *control.Route) {
			r.Mock = &control.Mock{Status: 200, Headers: [][]string{{"X A", "b"}}}
		}), "X A"},
		{of(func(r *control.Route) { r.Filters = make([]control.FilterSetting, 65) }), "filters"},
		{&control.Upstream{}, "ID"},
		{up(func(u *control.Upstream) { u.Targets = nil }), "targets"},
		{up(func(u *control.Upstream) { u.Targets[0].URL = "ftp://a" }), "target 1"},
		{up(func(u *control.Upstream) { u.Targets[1].URL = u.Targets[0].URL }), "twice"},
		{up(func(u *control.Upstream) { u.Targets[0].Weight = -1 }), "weight"},
		{up(func(u *control.Upstream) { u.Targets[0].Backup, u.Targets[1].Backup = true, true }), "backup"},
		{up(func(u *control.Upstream) { u.Spread = "luck" }), "luck"},
		{up(func(u *control.Upstream) { u.HashOn = "header:" }), "hash_on"},
		{up(func(u *control.Upstream) { u.HashOn = "cookie:a" }), "hash_on"},
		{up(func(u *control.Upstream) { u.Protocol = "h3" }), "h3"},
		{up(func(u *control.Upstream) { u.TLS = &control.UpstreamTLS{CA: "no"} }), "ca"},
		{up(func(u *control.Upstream) { u.TLS = &control.UpstreamTLS{Pin: []string{"abc"}} }), "pin"},
		{up(func(u *control.Upstream) { u.TLS = &control.UpstreamTLS{Cert: chain} }), "key"},
		{up(func(u *control.Upstream) { u.TLS = &control.UpstreamTLS{Cert: chain, Key: "sec_b"} }), "key"},
		{up(func(u *control.Upstream) { u.TLS = &control.UpstreamTLS{Cert: chain, Key: "sec_c"} }), "sec_c"},
		{up(func(u *control.Upstream) {
			u.Targets = []control.Target{{URL: "http://a"}}
			u.TLS = &control.UpstreamTLS{}
		}), "https"},
		{up(func(u *control.Upstream) { u.Health = &control.Health{Path: "x"} }), "path"},
		{up(func(u *control.Upstream) { u.Health = &control.Health{Path: "/", Every: 1, Timeout: 2} }), "timeout"},
		{up(func(u *control.Upstream) { u.Health = &control.Health{Path: "/", Statuses: []int{7}} }), "7"},
		{up(func(u *control.Upstream) { u.Outlier = &control.Outlier{Failures: -1} }), "failures"},
		{up(func(u *control.Upstream) { u.Retry.Attempts = 11 }), "attempts"},
		{up(func(u *control.Upstream) { u.KeepIdle = -1 }), "keep_idle"},
		{up(func(u *control.Upstream) { u.MaxQueue = -1 }), "max_queue"},
		{&control.Secret{Value: []byte("x")}, "ID"},
		{&control.Secret{ID: "sec_c"}, "value"},
		{&control.Secret{ID: "sec_c", Value: make([]byte, maxSecret+1)}, "value"},
		{cert(func(c *control.Certificate) { c.Domains = nil }), "domain"},
		{cert(func(c *control.Certificate) { c.Domains = []string{"other.test"} }), "other.test"},
		{cert(func(c *control.Certificate) { c.Chain = "x" }), "chain"},
		{cert(func(c *control.Certificate) { c.Key = "" }), "key"},
		{cert(func(c *control.Certificate) { c.Key = "sec_b" }), "key"},
		{cert(func(c *control.Certificate) { c.Key = "sec_c" }), "sec_c"},
	} {
		err := l.Apply(t.Context(), c.bad)
		if !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v; want it invalid, with %q", c.bad, err, c.word)
		}
	}
	if strings.Contains(fmt.Sprint(l.Apply(t.Context(), cert(func(c *control.Certificate) { c.Key = "sec_b" }))), string(key)) {
		t.Error("an error shows a key")
	}
}

// Whether a filter is known is for others to say; what they say is refused as invalid.
func TestCheckHasTheLastWord(t *testing.T) {
	l, err := Open(t.Context(), Options{DB: file(t, filepath.Join(t.TempDir(), "gateway.db")), MasterKey: key(1), Check: func(c control.Change) error {
		if r, ok := c.(*control.Route); ok && len(r.Filters) > 0 {
			return errors.New(`filter "shoe" is not known`)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r := route("rte_a")
	tellAll(t, l, group("grp_a", "a.test"), r)
	r = route("rte_a")
	r.Filters = []control.FilterSetting{{Filter: "shoe"}}
	if err := l.Apply(t.Context(), r); !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), "shoe") {
		t.Errorf("%v", err)
	}
}

// Another process hears of each change once, and of what has to be made anew because of it:
// routes behind a changed upstream, and whatever names a changed secret.
func TestChangesAreTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	console, node := on(t, file(t, path)), on(t, file(t, path))
	chain, private := pair(t, "a.test")
	plain, via, signed := route("rte_plain"), route("rte_via"), route("rte_signed")
	via.Via, via.Upstream = "ups_a", ""
	signed.Filters = []control.FilterSetting{{Filter: "sign", With: control.Raw(`{"key":"sec_sign"}`)}}
	mutual := upstream()
	mutual.ID, mutual.TLS = "ups_mutual", &control.UpstreamTLS{Cert: chain, Key: "sec_tls"}
	var got *Changes
	node.OnChange(func(n *Changes) { got = n })
	if !got.All {
		t.Fatal("it does not begin with all")
	}
	step := func(want string, changes ...control.Change) {
		t.Helper()
		got = nil
		tellAll(t, console, changes...)
		tellAll(t, console, changes...) // again: it changes nothing
		if err := node.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		var is []string
		if got != nil {
			for _, g := range got.Groups {
				is = append(is, string(g.ID))
			}
			for _, r := range got.Routes {
				is = append(is, string(r.ID))
			}
			for _, u := range got.Upstreams {
				is = append(is, string(u.ID))
			}
			for _, c := range got.Certificates {
				is = append(is, string(c.ID))
			}
			for _, s := range got.Secrets {
				is = append(is, string(s))
			}
			if got.Whole().Number != got.Number || got.All {
				t.Errorf("told of %+v", got)
			}
		}
		slices.Sort(is)
		if text := strings.Join(is, " "); text != want {
			t.Errorf("told of %q, want %q", text, want)
		}
	}
	step("grp_a rte_plain sec_sign sec_tls ups_a ups_mutual", &control.Secret{ID: "sec_tls", Value: private, Live: true}, &control.Secret{ID: "sec_sign", Value: []byte("k"), Live: true},
		upstream(), mutual, group("grp_a", "a.test"), plain)
	step("rte_signed rte_via", via, signed)
	step("crt_a", &control.Certificate{ID: "crt_a", Domains: []string{"a.test"}, Chain: chain, Key: "sec_tls", Live: true})
	changed := upstream()
	changed.Targets[0].Weight = 7
	step("rte_via ups_a", changed)
	step("rte_signed sec_sign", &control.Secret{ID: "sec_sign", Value: []byte("another"), Live: true})
	step("crt_a sec_tls ups_mutual", &control.Secret{ID: "sec_tls", Name: "renamed", Value: private, Live: true})
	step("", plain)
	if value, err := node.Secret("sec_sign"); err != nil || string(value) != "another" {
		t.Errorf("the secret is %q, %v", value, err)
	}
	tellAll(t, console, &control.Secret{ID: "sec_sign", Value: []byte("another")})
	if _, err := console.Secret("sec_sign"); !errors.Is(err, control.ErrMissing) {
		t.Errorf("of one that is off: %v", err)
	}
	if s := on(t, file(t, path)).Snapshot(); len(s.Groups) != 1 || len(s.Routes) != 3 || len(s.Upstreams) != 2 || len(s.Certificates) != 1 {
		t.Errorf("a later process knows %+v", s)
	}
	if u := node.Upstream("ups_a"); u == nil || u.Targets[0].Weight != 7 || node.Upstream("ups_x") != nil {
		t.Errorf("the upstream is %+v", u)
	}
}

// Who was away for longer than the feed goes back reads everything.
func TestTheFeedHasAnEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	console, node := on(t, file(t, path)), on(t, file(t, path))
	all := 0
	node.OnChange(func(n *Changes) {
		if n.All {
			all++
		}
	})
	tellAll(t, console, group("grp_a", "a.test"), route("rte_a"))
	err := console.db.Load().Tx(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO gw_change (number, kind, id) VALUES (?, 'route', 'rte_a')`, feedKept+10)
		return err
	})
	if err := errors.Join(err, console.Trim(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := changes(t, console); n != feedKept+10 {
		t.Fatalf("the feed ends at %d", n)
	}
	for range 2 {
		if err := node.follow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s := node.Snapshot(); all != 2 || len(s.Groups) != 1 || len(s.Routes) != 1 {
		t.Errorf("all was told %d times, %d groups", all, len(s.Groups))
	}
}

// No secret that settings name stands in the files of the database or of the last good
// configuration. K1.
func TestDumpHasNoSettingsSecret(t *testing.T) {
	folder := t.TempDir()
	l, err := Open(t.Context(), Options{DB: file(t, filepath.Join(folder, "gateway.db")), File: filepath.Join(folder, "config"), MasterKey: key(1)})
	if err != nil {
		t.Fatal(err)
	}
	chain, private := pair(t, "a.test")
	values := [][]byte{private, []byte("0123456789abcdef-a-backend-key"), {0, 1, 2, 3, 0xFE, 0xFF, 9, 8, 7, 6, 5}}
	for i, v := range values {
		tellAll(t, l, &control.Secret{ID: control.SecretID(fmt.Sprint("sec_", i)), Name: "named", Value: []byte("an earlier value"), Live: true})
		tellAll(t, l, &control.Secret{ID: control.SecretID(fmt.Sprint("sec_", i)), Name: "named", Value: v, Live: true})
		if got, err := l.Secret(control.SecretID(fmt.Sprint("sec_", i))); err != nil || !bytes.Equal(got, v) {
			t.Errorf("read back %q, %v", got, err)
		}
	}
	tellAll(t, l, &control.Certificate{ID: "crt_a", Domains: []string{"a.test"}, Chain: chain, Key: "sec_0", Live: true})
	if err := l.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, v := range append(values, []byte("an earlier value")) {
		words = append(words, string(v))
	}
	noneIn(t, folder, "crt_a", words)
	// A sealed value opens for its own name only.
	err = l.db.Load().Tx(t.Context(), func(tx *storage.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE gw_secret SET value = (SELECT value FROM gw_secret WHERE id = 'sec_1') WHERE id = 'sec_2'`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), Options{DB: l.db.Load(), MasterKey: key(1)})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := again.Secret("sec_2"); err == nil {
		t.Errorf("another's value opens as %q", v)
	}
}

// Who is told of a change, or asked whether it can be, sees it whole: upstreams, secrets and
// the snapshot have it.
func TestWhoIsToldMayLook(t *testing.T) {
	var l *Ledger
	checked := 0
	l, err := Open(t.Context(), Options{DB: file(t, filepath.Join(t.TempDir(), "gateway.db")), MasterKey: key(1), Check: func(c control.Change) error {
		if r, ok := c.(*control.Route); ok && len(r.Filters) > 0 {
			checked++
			value, err := l.Secret("sec_a")
			if err == nil && string(value) != "one" {
				err = fmt.Errorf("the secret is %q", value)
			}
			return err
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	l.OnChange(func(n *Changes) {
		if n.All {
			return
		}
		told++
		value, err := l.Secret("sec_a")
		if err != nil || string(value) != "one" || l.Upstream("ups_a") == nil || len(l.Snapshot().Routes) != 1 || n.Whole() != l.Snapshot() {
			t.Errorf("sees %q, %v, %+v", value, err, l.Snapshot())
		}
	})
	signed := route("rte_a")
	signed.Filters = []control.FilterSetting{{Filter: "sign", With: control.Raw(`{"key":"sec_a"}`)}}
	if err := l.Apply(t.Context(), signed); !errors.Is(err, control.ErrInvalid) {
		t.Errorf("without its secret: %v", err)
	}
	tellAll(t, l, &control.Secret{ID: "sec_a", Value: []byte("one"), Live: true}, upstream(), group("grp_a", "a.test"), signed)
	if told != 1 || checked != 2 {
		t.Errorf("told %d times, checked %d times", told, checked)
	}
}
