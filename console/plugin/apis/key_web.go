package apis

import (
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// KeysPage is a seller's keys of backend signatures (签名密钥).
type KeysPage struct {
	Keys []KeyRow `json:"keys"`
	Name string   `json:"-"` // as it was typed
}

// KeyRow is one key, without its value, which nobody sees again.
type KeyRow struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Created  time.Time    `json:"created"`
	Versions []KeyVersion `json:"versions" doc:"The one in use, then those that wait for their time"`
	Groups   []GroupLink  `json:"groups" doc:"That it signs for"`
}

// KeyVersion is one value of a key.
type KeyVersion struct {
	ID     string           `json:"id" doc:"What the backend reads in X-Ca-Proxy-Signature-Secret-Key"`
	Secret control.SecretID `json:"secret" doc:"How settings of filters name the value"`
	From   time.Time        `json:"from"`
	Used   bool             `json:"used" doc:"It is in use now"`
}

// GroupLink is a group by its name.
type GroupLink struct {
	ID   market.SourceID `json:"id"`
	Name market.Text     `json:"name"`
}

func (k *signKey) row(now time.Time, groups []group) KeyRow {
	r := KeyRow{ID: k.ID, Name: k.Name, Created: storage.Moment(k.Created), Versions: []KeyVersion{}, Groups: []GroupLink{}}
	for n, v := range k.live(now) {
		r.Versions = append(r.Versions, KeyVersion{ID: k.label(v), Secret: v.Secret, From: v.From, Used: n == 0})
	}
	for _, g := range groups {
		if g.Config.uses(k) {
			r.Groups = append(r.Groups, GroupLink{g.ID, g.Name})
		}
	}
	return r
}

func (p *Plugin) keysView(c *web.Ctx, typed string) (web.View, error) {
	keys, err := listKeys(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	groups, err := list(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	d := KeysPage{Keys: []KeyRow{}, Name: typed}
	for _, k := range keys {
		d.Keys = append(d.Keys, k.row(p.now(), groups))
	}
	return web.View{Page: "apis/keys", Title: c.T("apis.menu_keys"), Data: d}, nil
}

func (p *Plugin) showKeys(c *web.Ctx) (web.View, error) { return p.keysView(c, "") }

type keyIn struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty" doc:"16 bytes at least; made if left out"`
}

// NewKey is a key with its value, which is told this once.
type NewKey struct {
	Key     KeyRow `json:"key"`
	Version string `json:"version" doc:"What the backend reads in X-Ca-Proxy-Signature-Secret-Key"`
	Value   string `json:"value" doc:"Told this once"`
}

func (p *Plugin) addKey(c *web.Ctx) (web.View, error) {
	var in keyIn
	err := c.Bind(&in)
	if err == nil {
		var k *signKey
		var value string
		if k, value, err = p.MakeKey(c, c.Actor(), in.Name, in.Value); err == nil {
			return p.tellKey(c, k, value), nil
		}
	}
	v, viewErr := p.keysView(c, in.Name)
	if viewErr != nil {
		err = viewErr
	}
	return v, err
}

// tellKey shows a value; the page cannot be opened again.
func (p *Plugin) tellKey(c *web.Ctx, k *signKey, value string) web.View {
	d := NewKey{Key: k.row(p.now(), nil), Version: k.label(k.Versions[len(k.Versions)-1]), Value: value}
	return web.View{Page: "apis/key_made", Title: k.Name, Data: d, Menu: "/seller/keys",
		Crumbs: []web.Crumb{{Word: c.T("apis.menu_keys"), Href: "/seller/keys"}, {Word: k.Name}}}
}

// KeyPage is the form of a rotation.
type KeyPage struct {
	Key    KeyRow           `json:"key"`
	Afters []map[string]any `json:"-"`
}

type rotation struct {
	Value string `json:"value,omitempty" doc:"16 bytes at least; made if left out"`
	After int64  `json:"after_hours" doc:"When the new value is used: so many hours from now"`
}

func (p *Plugin) keyView(c *web.Ctx, after int64) (web.View, error) {
	k, err := findKey(c, p.db.Read(), c.Actor().Account, c.Param("key"))
	if err != nil {
		return web.View{}, err
	}
	groups, err := list(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	d := KeyPage{Key: k.row(p.now(), groups)}
	for _, o := range []struct {
		hours int64
		text  string
	}{{0, "0"}, {24, "24"}, {168, "168"}} {
		d.Afters = append(d.Afters, option(o.text, c.T("apis.key_after_"+o.text), o.hours == after))
	}
	return web.View{Page: "apis/key", Title: k.Name, Data: d, Menu: "/seller/keys",
		Crumbs: []web.Crumb{{Word: c.T("apis.menu_keys"), Href: "/seller/keys"}, {Word: k.Name}}}, nil
}

func (p *Plugin) showKey(c *web.Ctx) (web.View, error) { return p.keyView(c, 24) }

func (p *Plugin) rotateKey(c *web.Ctx) (web.View, error) {
	in := rotation{After: 24}
	err := c.Bind(&in)
	if err == nil {
		var k *signKey
		var value string
		if k, value, err = p.RotateKey(c, c.Actor(), c.Param("key"), in.Value, time.Duration(min(in.After, 1<<20))*time.Hour); err == nil {
			return p.tellKey(c, k, value), nil
		}
	}
	v, viewErr := p.keyView(c, in.After)
	if viewErr != nil {
		err = viewErr
	}
	return v, err
}

func (p *Plugin) dropKey(c *web.Ctx) (web.View, error) {
	if err := p.DropKey(c, c.Actor(), c.Param("key")); err != nil {
		v, viewErr := p.keyView(c, 24)
		if viewErr != nil {
			err = viewErr
		}
		return v, err
	}
	v, err := p.keysView(c, "")
	v.To, v.Say = "/seller/keys", "apis.dropped"
	return v, err
}

// SigningPage says which key signs what the backend of a group gets.
type SigningPage struct {
	Head
	Key     string           `json:"key" doc:"Empty: nothing is signed"`
	Headers []string         `json:"headers" doc:"Signed beside the gateway's own"`
	Digest  bool             `json:"digest" doc:"Bodies are always signed"`
	Lines   string           `json:"-"`
	Keys    []map[string]any `json:"-"`
}

type signingIn struct {
	Key     string   `json:"key" doc:"ID of a key; empty: nothing is signed"`
	Headers []string `json:"headers,omitempty" doc:"Signed beside the gateway's own; in a form one a line"`
	Digest  bool     `json:"digest,omitempty" doc:"Bodies are always signed, for which they are read whole"`
}

func (p *Plugin) signingView(c *web.Ctx, w *whole, in signingIn) (web.View, error) {
	d := SigningPage{Head: head(c, w, "signing"), Key: in.Key, Headers: append([]string{}, in.Headers...), Digest: in.Digest, Lines: strings.Join(in.Headers, "\n")}
	keys, err := listKeys(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	d.Keys = append(d.Keys, option("", c.T("apis.sign_none"), in.Key == ""))
	for _, k := range keys {
		d.Keys = append(d.Keys, option(k.ID, k.Name, in.Key == k.ID))
	}
	return under(c, w, "signing", "signing", "", d), nil
}

func (w *whole) signing() signingIn {
	if s := w.Config.Sign; s != nil {
		return signingIn(*s)
	}
	return signingIn{}
}

func (p *Plugin) showSigning(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	return p.signingView(c, w, w.signing())
}

func (p *Plugin) setSigning(c *web.Ctx) (web.View, error) {
	var in signingIn
	err := c.Bind(&in)
	in.Headers = strings.Fields(strings.Join(in.Headers, "\n"))
	if err == nil && in.Key != "" {
		if _, e := findKey(c, p.db.Read(), c.Actor().Account, in.Key); e != nil {
			err = &market.Error{Kind: market.Invalid, Code: "form.invalid", Err: e, Fields: []market.Field{{Name: "key", Code: "apis.no_key"}}}
		}
	}
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "headers", func(w *whole, form *market.Form) error {
			form.Check(len(in.Headers) <= 50, "headers", "apis.too_many", "max", "50")
			if w.Config.Sign = nil; in.Key != "" {
				s := signing(in)
				w.Config.Sign = &s
			}
			return nil
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	v, viewErr := p.signingView(c, w, in)
	if viewErr != nil {
		return v, viewErr
	}
	if err == nil {
		v.To, v.Say = "/seller/apis/"+string(w.ID)+"/signing", "web.saved"
	}
	return v, err
}
