package apis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/sdkgen/openapi"
)

// add makes a group under a domain of its own.
func (p *Plugin) add(ctx context.Context, who *market.Actor, g group, list []iface) (market.SourceID, error) {
	now := p.now()
	id := market.NewID("grp", now)
	g.ID, g.Seller, g.Created, g.Moved = market.SourceID(id), who.Account, storage.Millis(now), storage.Millis(now)
	g.Domain = "g" + id[len(id)-10:] + "." + p.suffix
	for i := range list {
		list[i].ID = market.NewID("rte", now)
		list[i].Sort = i
	}
	return g.ID, p.db.Tx(ctx, func(tx *storage.Tx) error {
		if err := insertGroup(ctx, tx, g); err != nil {
			return err
		}
		for _, i := range list {
			if err := insertInterface(ctx, tx, g.ID, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// Import reads an OpenAPI document and makes a group of what it describes.
func (p *Plugin) Import(ctx context.Context, who *market.Actor, file string, document []byte) (market.SourceID, error) {
	doc, err := openapi.Read(document)
	var bad *openapi.Error
	if errors.As(err, &bad) {
		args := map[string]string{"line": fmt.Sprint(bad.Line), "col": fmt.Sprint(bad.Col)}
		for k, v := range bad.Args {
			args[k] = v
		}
		return "", &market.Error{Kind: market.Invalid, Code: bad.Code, Err: bad, Args: args,
			Fields: []market.Field{{Name: "document", Code: bad.Code, Args: args}}}
	}
	if err != nil {
		return "", err
	}
	list, lost := interfaces(doc)
	if len(list) == 0 {
		return "", &market.Error{Kind: market.Invalid, Code: "form.invalid",
			Fields: []market.Field{{Name: "document", Code: "apis.no_interfaces", Args: map[string]string{"n": fmt.Sprint(len(lost))}}}}
	}
	name := clip(strings.TrimSpace(doc.Title), nameMax)
	if name == "" {
		name = file
	}
	g := group{Name: oneText(name), File: file, Version: doc.OpenAPI, Document: document,
		Settings: settings{Timeout: timeoutUsed, AppCode: string(control.AppCodeDefault)}}
	for _, s := range doc.Servers {
		// The first server that could be called is proposed; the seller confirms it.
		if code, _ := p.checkUpstream(ctx, strings.TrimSuffix(s, "/")); code == "" {
			g.Settings.Upstream = strings.TrimSuffix(s, "/")
			break
		}
	}
	return p.add(ctx, who, g, list)
}

// Draw makes a group by hand.
func (p *Plugin) Draw(ctx context.Context, who *market.Actor, name market.Text, s settings, list []iface) (market.SourceID, error) {
	var form market.Form
	n := max(utf8.RuneCountInString(name.ZH), utf8.RuneCountInString(name.EN))
	form.Check(n >= 1 && n <= nameMax, "name", "apis.name", "max", fmt.Sprint(nameMax))
	p.checkSettings(ctx, s, &form)
	form.Check(len(list) > 0 && len(list) <= ifacesMax, "interfaces", "apis.interfaces", "max", fmt.Sprint(ifacesMax))
	seen := map[string]bool{}
	for n, i := range list {
		at := fmt.Sprintf("interfaces.%d", n)
		form.Check(methods[i.Method], at, "apis.method", "method", i.Method)
		form.Check(pathForm.MatchString(i.Path) && strings.HasPrefix(i.Path, "/"), at, "apis.path", "path", i.Path)
		form.Check(!seen[i.Method+" "+i.Path], at, "apis.twice", "path", i.Method+" "+i.Path)
		seen[i.Method+" "+i.Path] = true
	}
	if err := form.Err(); err != nil {
		return "", err
	}
	return p.add(ctx, who, group{Name: name, Settings: s}, list)
}

// Choose sets which interfaces are offered. A group whose product is listed changes at
// the gateway at once.
func (p *Plugin) Choose(ctx context.Context, who *market.Actor, id market.SourceID, chosen []string) error {
	want := map[string]bool{}
	for _, c := range chosen {
		want[c] = true
	}
	return p.edit(ctx, who, id, "chosen", func(w *whole, form *market.Form) error {
		n := 0
		for k := range w.ifaces {
			i := &w.ifaces[k]
			if i.Chosen = want[i.ID]; i.Chosen {
				n++
			}
		}
		form.Check(n > 0 && n == len(want), "chosen", "apis.none_chosen")
		return nil
	})
}

// SetUpstream sets where calls go. A group whose product is listed changes at once.
func (p *Plugin) SetUpstream(ctx context.Context, who *market.Actor, id market.SourceID, s settings, secureCode bool) error {
	if _, err := find(ctx, p.db.Read(), who, id); err != nil {
		return err
	}
	var form market.Form
	p.checkSettings(ctx, s, &form)
	if err := form.Err(); err != nil {
		return err
	}
	return p.edit(ctx, who, id, "upstream", func(w *whole, _ *market.Form) error {
		w.Settings, w.Config.SecureAppCode = s, secureCode
		return nil
	})
}

// publishListed publishes the group of a product that went onto the shelf.
func (p *Plugin) publishListed(ctx context.Context, e market.ProductListed) (struct{}, error) {
	if e.Kind != "api" {
		return struct{}{}, nil
	}
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE apis_group SET product = ?, charge = ?, rev = rev + 1 WHERE id = ?`, e.Product, e.Charge, e.Source)
		return err
	})
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, p.publish(ctx, e.Source)
}

func (*Plugin) published(context.Context, *storage.Tx, market.ProductListed, struct{}) error {
	return nil
}

// sharedGroup is the gateway's group for the domains that all products share.
const sharedGroup control.GroupID = "grp_shared"

// sharedMark tells a route on the shared domains from the one on the group's own.
const sharedMark = "_shared"

// takePaths takes the paths on the shared domains that nobody has, and says which of the
// interfaces have theirs.
func (p *Plugin) takePaths(ctx context.Context, list []iface) (map[string]bool, error) {
	mine := map[string]bool{}
	err := p.db.Tx(ctx, func(tx *storage.Tx) error {
		for _, i := range list {
			if i.Chosen {
				_, err := tx.Exec(ctx, `INSERT INTO apis_shared (method, path, interface) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, i.Method, i.Path, i.ID)
				if err != nil {
					return err
				}
			}
			var has int
			err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM apis_shared WHERE method = ? AND path = ? AND interface = ?`, i.Method, i.Path, i.ID).Scan(&has)
			if err != nil {
				return err
			}
			mine[i.ID] = has == 1
		}
		return nil
	})
	return mine, err
}

// API describes a group to others: what is chosen, and nothing of the upstream.
func (p *Plugin) API(ctx context.Context, id market.SourceID) (market.API, error) {
	g, err := p.whole(ctx, id)
	if err != nil {
		return market.API{}, err
	}
	a := market.API{Source: g.ID, Domain: g.Domain, Document: g.Document, Shared: len(p.shared) > 0}
	if g.Config.TestDomain && len(g.Config.Domains) > 0 {
		a.Domain = g.Config.Domains[0] // the built-in one is for tests
	}
	for n := range g.ifaces {
		i := &g.ifaces[n]
		if !i.Chosen {
			continue
		}
		v := i.Interface
		v.Operation, v.CodeForm = i.Operation, g.appCode(i)
		a.Interfaces = append(a.Interfaces, v)
		if a.Shared {
			var has int
			err := p.db.Read().QueryRow(ctx, `SELECT COUNT(*) FROM apis_shared WHERE interface = ?`, i.ID).Scan(&has)
			if err != nil {
				return a, err
			}
			a.Shared = has == 1
		}
	}
	return a, nil
}

// Choices lists a seller's groups that are not sold yet, with what each still lacks.
func (p *Plugin) Choices(ctx context.Context, seller market.AccountID) ([]market.APIChoice, error) {
	groups, err := list(ctx, p.db.Read(), seller)
	if err != nil {
		return nil, err
	}
	var choices []market.APIChoice
	for _, g := range groups {
		ifs, err := listInterfaces(ctx, p.db.Read(), g.ID)
		if err != nil {
			return nil, err
		}
		c := market.APIChoice{Source: g.ID, Name: g.Name}
		for _, i := range ifs {
			if i.Chosen {
				c.Interfaces++
			}
		}
		switch {
		case c.Interfaces == 0:
			c.Problem = "apis.none_chosen"
		case g.Settings.Upstream == "":
			c.Problem = "apis.no_upstream"
		}
		choices = append(choices, c)
	}
	return choices, nil
}
