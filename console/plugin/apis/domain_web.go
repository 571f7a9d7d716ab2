package apis

import (
	"slices"
	"strings"
	"time"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web"
)

// DomainsPage is the host names of a group.
type DomainsPage struct {
	Head
	Domain       string        `json:"domain" doc:"The built-in one"`
	Domains      []string      `json:"domains" doc:"The seller's own"`
	TestDomain   bool          `json:"test_domain" doc:"The built-in one takes 1000 calls a day"`
	Certificates []Certificate `json:"certificates"`
	Lines        string        `json:"-"`
	Chain        string        `json:"-"`
}

// Certificate is what callers of some domains are shown.
type Certificate struct {
	ID      string    `json:"id"`
	Domains []string  `json:"domains"`
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
	Over    bool      `json:"over" doc:"It is valid no longer"`
	Soon    bool      `json:"soon" doc:"It is valid for less than 30 days"`
}

type domainsIn struct {
	Domains    []string `json:"domains" doc:"In a form one a line"`
	TestDomain bool     `json:"test_domain,omitempty" doc:"The built-in domain takes 1000 calls a day; needs a domain of your own"`
}

func (p *Plugin) domainsView(c *web.Ctx, w *whole) (DomainsPage, error) {
	g := &w.Config
	d := DomainsPage{Head: head(c, w, "domains"), Domain: w.Domain, Domains: append([]string{}, g.Domains...), TestDomain: g.TestDomain,
		Certificates: []Certificate{}, Lines: strings.Join(g.Domains, "\n")}
	all, err := certificates(c, p.db.Read(), w.ID)
	for _, k := range all {
		d.Certificates = append(d.Certificates, Certificate{ID: k.ID, Domains: k.Domains, From: k.Begins, Until: k.Ends, Over: p.now().After(k.Ends),
			Soon: p.now().Add(30 * 24 * time.Hour).After(k.Ends)})
	}
	return d, err
}

func (p *Plugin) showDomains(c *web.Ctx) (web.View, error) {
	w, err := p.mine(c)
	if err != nil {
		return web.View{}, err
	}
	d, err := p.domainsView(c, w)
	return under(c, w, "domains", "domains", "", d), err
}

func (p *Plugin) setDomains(c *web.Ctx) (web.View, error) {
	var in domainsIn
	err := c.Bind(&in)
	list := domainLines(strings.Join(in.Domains, "\n"))
	if err == nil {
		err = p.edit(c, c.Actor(), p.group(c), "domains", func(w *whole, form *market.Form) error {
			p.checkDomains(list, form)
			form.Check(!in.TestDomain || len(list) > 0, "test_domain", "apis.test_domain")
			shown, err := certificates(c, p.db.Read(), w.ID)
			for _, k := range shown {
				for _, d := range k.Domains {
					form.Check(slices.Contains(list, d), "domains", "apis.domain_certified", "domain", d)
				}
			}
			w.Config.Domains, w.Config.TestDomain = list, in.TestDomain
			return err
		})
	}
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	d, viewErr := p.domainsView(c, w)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	if err != nil {
		d.Lines, d.TestDomain = strings.Join(list, "\n"), in.TestDomain
		return under(c, w, "domains", "domains", "", d), err
	}
	v := under(c, w, "domains", "domains", "", d)
	v.To, v.Say = "/seller/apis/"+string(w.ID)+"/domains", "web.saved"
	return v, nil
}

type certificateIn struct {
	Chain string `json:"chain" doc:"PEM, the server's own certificate first"`
	Key   string `json:"key" doc:"Its private key, PEM; it is kept encrypted and never shown"`
}

func (p *Plugin) addCertificate(c *web.Ctx) (web.View, error) {
	var in certificateIn
	err := c.Bind(&in)
	if err == nil {
		err = p.AddCertificate(c, c.Actor(), p.group(c), in.Chain, in.Key)
	}
	return p.certified(c, in.Chain, "web.saved", err)
}

func (p *Plugin) dropCertificate(c *web.Ctx) (web.View, error) {
	return p.certified(c, "", "apis.dropped", p.DropCertificate(c, c.Actor(), p.group(c), c.Param("certificate")))
}

func (p *Plugin) certified(c *web.Ctx, chain, say string, err error) (web.View, error) {
	w, viewErr := p.mine(c)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	d, viewErr := p.domainsView(c, w)
	if viewErr != nil {
		return web.View{}, viewErr
	}
	if err != nil {
		d.Chain = chain // the key is not shown again
	}
	v := under(c, w, "domains", "domains", "", d)
	if err == nil {
		v.To, v.Say = "/seller/apis/"+string(w.ID)+"/domains", say
	}
	return v, err
}
