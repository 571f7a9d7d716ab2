package apis

import (
	"errors"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// List is a seller's groups.
type List struct {
	Groups []Row `json:"groups"`
	Total  int   `json:"total"`
}

// Row is one group in a list.
type Row struct {
	ID         market.SourceID  `json:"id"`
	Name       market.Text      `json:"name"`
	Domain     string           `json:"domain"`
	Upstream   string           `json:"upstream"`
	Interfaces int              `json:"interfaces" doc:"That are offered"`
	Product    market.ProductID `json:"product" doc:"That is listed with it; empty before"`
	Moved      time.Time        `json:"moved"`
}

func (p *Plugin) list(c *web.Ctx) (web.View, error) {
	groups, err := list(c, p.db.Read(), c.Actor().Account)
	if err != nil {
		return web.View{}, err
	}
	l := List{Groups: []Row{}, Total: len(groups)}
	for _, g := range groups {
		ifs, err := listInterfaces(c, p.db.Read(), g.ID)
		if err != nil {
			return web.View{}, err
		}
		l.Groups = append(l.Groups, row(g, ifs))
	}
	return web.View{Page: "apis/list", Title: c.T("apis.menu"), Data: l}, nil
}

func row(g group, ifs []iface) Row {
	r := Row{ID: g.ID, Name: g.Name, Domain: g.Domain, Upstream: g.Settings.Upstream, Product: g.Product, Moved: storage.Moment(g.Moved)}
	for _, i := range ifs {
		if i.Chosen {
			r.Interfaces++
		}
	}
	return r
}

// Show is one group.
type Show struct {
	Row
	Settings   Settings    `json:"settings"`
	File       string      `json:"file" doc:"Of the import; empty if drawn by hand"`
	Version    string      `json:"openapi" doc:"The version of the document"`
	Size       int         `json:"size" doc:"Of the document, in bytes"`
	Interfaces []Interface `json:"interfaces"`
	Chosen     int         `json:"chosen"`
	Needs      int         `json:"needs" doc:"How many chosen interfaces lack something"`
	Hide       int         `json:"hide" doc:"How many had better not be published"`
	Shown      *Interface  `json:"-"` // whose remarks are on the right
	Published  bool        `json:"published"`
	Domains    []string    `json:"domains" doc:"Beside the built-in one"`
	Servers    int         `json:"servers" doc:"How many there are behind the group"`
	Tabs       []Tab       `json:"-"`
	config     config
}

// Settings are what the seller decides for a group.
type Settings struct {
	Upstream string `json:"upstream"`
	Timeout  int64  `json:"timeout_millis" doc:"Until the answer's head"`
	AppCode  string `json:"app_code" doc:"DEFAULT, DISABLE, HEADER or HEADER_QUERY"`
	SHA1     bool   `json:"allow_sha1" doc:"Signatures by HmacSHA1 too"`
	// SecureAppCode is the group's, and that of the market's own domains too.
	SecureAppCode bool `json:"secure_app_code" doc:"AppCodes over plain HTTP are refused"`
}

// Interface is one operation of a group.
type Interface struct {
	ID       string      `json:"id"`
	Method   string      `json:"method"`
	Path     string      `json:"path"`
	Name     market.Text `json:"name"`
	Chosen   bool        `json:"chosen"`
	Problems []Remark    `json:"problems"`
	Level    string      `json:"level" doc:"ok, needs or hide"`
	AppCode  string      `json:"app_code" doc:"Where an AppCode may stand: the interface's own choice, or the group's"`
	Secure   bool        `json:"secure" doc:"Only over HTTPS"`
	Mock     bool        `json:"mock" doc:"Answers without a backend"`
}

// Remark is a problem in the reader's language.
type Remark struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Line int    `json:"line"`
}

func (p *Plugin) view(c *web.Ctx, id market.SourceID) (Show, error) {
	g, err := find(c, p.db.Read(), c.Actor(), id)
	if err != nil {
		return Show{}, err
	}
	ifs, err := listInterfaces(c, p.db.Read(), id)
	if err != nil {
		return Show{}, err
	}
	w := &whole{group: g, ifaces: ifs}
	s := g.Settings
	v := Show{config: g.Config, Row: row(g, ifs), File: g.File, Version: g.Version, Size: len(g.Document), Published: g.Product != "",
		Settings: Settings{Upstream: s.Upstream, Timeout: s.Timeout.Milliseconds(), AppCode: s.AppCode, SHA1: s.SHA1,
			SecureAppCode: g.Config.SecureAppCode}, Domains: append([]string{}, g.Config.Domains...), Servers: 1, Interfaces: []Interface{}}
	if b := g.Config.Backend; b != nil {
		v.Servers += len(b.Targets)
	}
	for _, i := range ifs {
		one := Interface{AppCode: w.appCode(&i), Secure: i.Config.Secure, Mock: i.Config.Mock != nil, ID: i.ID, Method: i.Method, Path: i.Path, Name: i.Name, Chosen: i.Chosen, Problems: []Remark{}, Level: "ok"}
		for _, pr := range i.Problems {
			var args []any
			for k, a := range pr.Args {
				args = append(args, k, a)
			}
			one.Problems = append(one.Problems, Remark{Code: pr.Code, Text: c.T("error."+pr.Code, args...), Line: pr.Line})
			if one.Level != "hide" {
				one.Level = pr.Level
			}
		}
		if i.Chosen {
			v.Chosen++
		}
		switch {
		case one.Level == "hide":
			v.Hide++
		case one.Level == "needs" && i.Chosen:
			v.Needs++
		}
		v.Interfaces = append(v.Interfaces, one)
	}
	return v, nil
}

func (p *Plugin) group(c *web.Ctx) market.SourceID { return market.SourceID(c.Param("group")) }

// page shows a group's page by name.
func (p *Plugin) page(c *web.Ctx, name string, id market.SourceID) (web.View, error) {
	v, err := p.view(c, id)
	if err != nil {
		return web.View{}, err
	}
	for n := range v.Interfaces {
		if i := &v.Interfaces[n]; i.ID == c.Query("show") || v.Shown == nil && len(i.Problems) > 0 {
			v.Shown = i
		}
	}
	v.Tabs = tabs(c, &whole{group: group{ID: id, Config: v.config}}, map[string]string{"show": "", "upstream": "upstream"}[name])
	word := c.In(v.Name)
	return web.View{Page: "apis/" + name, Title: word, Data: v, Menu: "/seller/apis",
		Crumbs: []web.Crumb{{Word: c.T("apis.menu"), Href: "/seller/apis"}, {Word: word}}}, nil
}

func (p *Plugin) show(c *web.Ctx) (web.View, error)         { return p.page(c, "show", p.group(c)) }
func (p *Plugin) showSelect(c *web.Ctx) (web.View, error)   { return p.page(c, "select", p.group(c)) }
func (p *Plugin) showUpstream(c *web.Ctx) (web.View, error) { return p.page(c, "upstream", p.group(c)) }

// upload is an OpenAPI document, as text or, in a form, as a file named "file".
type upload struct {
	Document string `json:"document" doc:"OpenAPI 2.0, 3.0 or 3.1, as JSON or YAML text; up to 10 MiB"`
	Name     string `json:"name,omitempty" doc:"The file's name"`
}

// ImportPage is what was typed.
type ImportPage struct{ Document string }

func importView(c *web.Ctx, text string) web.View {
	return web.View{Page: "apis/import", Title: c.T("apis.import"), Data: ImportPage{Document: text}, Menu: "/seller/apis",
		Crumbs: []web.Crumb{{Word: c.T("apis.menu"), Href: "/seller/apis"}, {Word: c.T("apis.import")}}}
}

func (p *Plugin) showImport(c *web.Ctx) (web.View, error) { return importView(c, ""), nil }

func (p *Plugin) imports(c *web.Ctx) (web.View, error) {
	var in upload
	if err := c.Bind(&in); err != nil {
		return importView(c, ""), err
	}
	name, body, err := c.File("file")
	if err != nil {
		return web.View{}, err
	}
	if body == nil {
		name, body = in.Name, []byte(in.Document)
	}
	if len(strings.TrimSpace(string(body))) == 0 {
		return importView(c, ""), &market.Error{Kind: market.Invalid, Code: "form.invalid",
			Fields: []market.Field{{Name: "document", Code: "apis.no_document"}}}
	}
	if name == "" {
		name = "openapi"
	}
	id, err := p.Import(c, c.Actor(), clip(name, 100), body)
	if err != nil {
		return importView(c, in.Document), err
	}
	v, err := p.page(c, "select", id)
	v.To = "/seller/apis/" + string(id) + "/select"
	return v, err
}

type selection struct {
	Chosen []string `json:"chosen" doc:"IDs of the interfaces that are offered"`
}

func (p *Plugin) choose(c *web.Ctx) (web.View, error) {
	var in selection
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	id := p.group(c)
	err := p.Choose(c, c.Actor(), id, in.Chosen)
	v, viewErr := p.page(c, "select", id)
	if err == nil {
		v.To = "/seller/apis/" + string(id) + "/upstream"
	}
	return v, errors.Join(err, viewErr)
}

type upstream struct {
	Upstream string `json:"upstream" doc:"Base address of your server: https://api.example.com/v2"`
	Timeout  int64  `json:"timeout_millis,omitempty" doc:"Until the answer's head; 10000 if left out"`
	AppCode  string `json:"app_code,omitempty" doc:"DEFAULT if left out"`
	SHA1     bool   `json:"allow_sha1,omitempty"`

	SecureAppCode bool `json:"secure_app_code,omitempty" doc:"AppCodes over plain HTTP are refused"`
}

func (u upstream) settings() settings {
	s := settings{Upstream: strings.TrimSuffix(strings.TrimSpace(u.Upstream), "/"), Timeout: time.Duration(u.Timeout) * time.Millisecond,
		AppCode: u.AppCode, SHA1: u.SHA1}
	if u.Timeout == 0 {
		s.Timeout = timeoutUsed
	}
	if s.AppCode == "" {
		s.AppCode = string(control.AppCodeDefault)
	}
	return s
}

func (p *Plugin) setUpstream(c *web.Ctx) (web.View, error) {
	var in upstream
	id := p.group(c)
	err := c.Bind(&in)
	if err == nil {
		err = p.SetUpstream(c, c.Actor(), id, in.settings(), in.SecureAppCode)
	}
	v, viewErr := p.page(c, "upstream", id)
	if viewErr != nil {
		return v, viewErr
	}
	d := v.Data.(Show)
	if err != nil { // what was typed stays
		d.Settings = Settings(in)
		v.Data = d
		return v, err
	}
	v.To = "/seller/products/new?source=" + string(id)
	if d.Published {
		v.To, v.Say = "/seller/apis/"+string(id), "web.saved"
	}
	return v, nil
}

// drawing is a group made by a program, without a document.
type drawing struct {
	Name       market.Text `json:"name"`
	Upstream   string      `json:"upstream"`
	Timeout    int64       `json:"timeout_millis,omitempty"`
	AppCode    string      `json:"app_code,omitempty"`
	SHA1       bool        `json:"allow_sha1,omitempty"`
	Interfaces []Drawn     `json:"interfaces"`
}

// Drawn is one interface of a drawing.
type Drawn struct {
	Method string      `json:"method" doc:"GET, POST, …, or ANY"`
	Path   string      `json:"path" doc:"/user/[id]; a last [*] takes the rest"`
	Name   market.Text `json:"name"`
}

func (p *Plugin) draw(c *web.Ctx) (web.View, error) {
	var in drawing
	if err := c.Bind(&in); err != nil {
		return web.View{}, err
	}
	s := upstream{in.Upstream, in.Timeout, in.AppCode, in.SHA1, false}.settings()
	var list []iface
	for _, d := range in.Interfaces {
		list = append(list, iface{Interface: market.Interface{Method: d.Method, Path: d.Path, Name: d.Name}, Chosen: true})
	}
	id, err := p.Draw(c, c.Actor(), in.Name, s, list)
	if err != nil {
		return web.View{}, err
	}
	return p.page(c, "show", id)
}
