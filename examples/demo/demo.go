// Package demo is a filled marketplace in one process: gateway, console and inner
// listener, the demo sellers' upstream, their products on the shelf, and a buyer who has
// bought some. It is filled through the public JSON API, as its people would do it.
//
// It leaves to examples/house how the parts are put together, and to main.go what is
// printed.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	_ "github.com/souk-market/souk/console/standard" // the plug-ins that the demo shows
	"github.com/souk-market/souk/examples/house"
	_ "github.com/souk-market/souk/gateway/standard" // the filters that its sellers may use
)

// recordFile is the demo's memory in its data folder. A folder without it is not a demo's.
const recordFile = "demo.json"

// Domains are the host names that every product of the demo answers to.
var Domains = []string{"demo.api.localhost", "127.0.0.1", "localhost"}

// sharedGroup is the gateway's group of these domains, and sharedMark what its routes'
// IDs end with.
const (
	sharedGroup = "grp_shared"
	sharedMark  = "_shared"
)

// Options are where a demo runs. Data is needed.
type Options struct {
	Data string // folder, kept between runs
	// Addresses to listen on; empty: any free port of loopback.
	Gateway, Console, Ops string
	Fresh                 bool // forget what was there
	Log, AccessLog        *zap.Logger
	Now                   func() time.Time
}

// Market is a running demo.
type Market struct {
	*house.House
	Ready Ready

	upstream *http.Server
	serving  sync.WaitGroup
}

// Ready says where everything is and how to use it: the ready file.
type Ready struct {
	Gateway  string    `json:"gateway"`
	Console  string    `json:"console"`
	Ops      string    `json:"ops"`
	Upstream string    `json:"upstream"`
	Accounts []Account `json:"accounts"`
	App      App       `json:"app"`
	Group    Group     `json:"group"`
	Routes   []Route   `json:"routes"`
	Packages []Package `json:"packages"`
}

// App is the demo buyer's, with its credentials.
type App struct {
	ID        string `json:"id"`
	AppKey    string `json:"app_key"`
	AppSecret string `json:"app_secret"`
	AppCode   string `json:"app_code"`
}

// Group is the API group that all products share: its domain goes into Host.
type Group struct {
	ID     string `json:"id"`
	Domain string `json:"domain"`
}

// Route is something that the app may call.
type Route struct {
	ID      string `json:"id"`
	Method  string `json:"method"`
	Path    string `json:"path"`
	Product string `json:"product"`
}

// Package is so many calls in the buyer's hand.
type Package struct {
	ID      string `json:"id"`
	Product string `json:"product"`
	Total   int64  `json:"total"`
	Used    int64  `json:"used"`
}

const anyPort = "127.0.0.1:0"

// Start starts the demo, and fills it at the first time. It returns when everything
// answers.
func Start(ctx context.Context, o Options) (m *Market, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, at := range []*string{&o.Gateway, &o.Console, &o.Ops} {
		if *at == "" {
			*at = anyPort
		}
	}
	r, err := remember(o)
	if err != nil {
		return nil, err
	}
	m = &Market{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close(context.WithoutCancel(ctx)))
			m = nil
		}
	}()
	moved, err := m.startUpstream(r, o.Now)
	if err != nil {
		return m, err
	}
	m.House, err = house.Open(ctx, house.Options{Folder: o.Data, Gateway: o.Gateway, Console: o.Console, Ops: o.Ops,
		SharedDomains: Domains, AllowPrivateUpstreams: true, Log: o.Log, AccessLog: o.AccessLog, Now: o.Now})
	if err != nil {
		return m, err
	}
	s := &seeder{console: m.ConsoleURL, upstream: "http://" + r.Upstream, now: o.Now, record: r}
	switch {
	case !r.Complete:
		token, err := m.SetUpToken(ctx)
		if err != nil {
			return m, err
		}
		if err := s.seed(ctx, token); err != nil {
			return m, err
		}
		r.Complete = true
		err = r.save(o.Data)
		if err != nil {
			return m, err
		}
	case moved:
		if err := s.publish(ctx); err != nil {
			return m, err
		}
		if err := r.save(o.Data); err != nil {
			return m, err
		}
	}
	m.Ready, err = s.ready(ctx)
	m.Ready.Gateway, m.Ready.Console, m.Ready.Ops, m.Ready.Upstream = m.GatewayURL, m.ConsoleURL, m.OpsURL, s.upstream
	return m, err
}

// Close ends everything, as long as ctx allows.
func (m *Market) Close(ctx context.Context) error {
	var err error
	if m.House != nil {
		err = m.House.Close(ctx)
	}
	if m.upstream != nil {
		err = errors.Join(err, m.upstream.Shutdown(ctx))
		m.serving.Wait()
	}
	return err
}

// startUpstream serves the sellers' server, where it was the last time if nobody else is
// there now.
func (m *Market) startUpstream(r *record, now func() time.Time) (moved bool, err error) {
	l, err := net.Listen("tcp", r.Upstream)
	if r.Upstream == "" || err != nil {
		if l != nil {
			_ = l.Close() // an empty address would be every interface
		}
		if l, err = net.Listen("tcp", anyPort); err != nil {
			return false, err
		}
	}
	moved = l.Addr().String() != r.Upstream
	r.Upstream = l.Addr().String()
	m.upstream = &http.Server{Handler: upstream(now), ReadHeaderTimeout: 10 * time.Second}
	m.serving.Go(func() { _ = m.upstream.Serve(l) }) // ends with Shutdown
	return moved, nil
}

// remember reads the record of a data folder. One that was interrupted is begun anew; a
// folder that is somebody else's is left alone.
func remember(o Options) (*record, error) {
	r := &record{}
	text, err := os.ReadFile(filepath.Join(o.Data, recordFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there, err := os.ReadDir(o.Data)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(there) > 0 {
			return nil, fmt.Errorf("%s is not empty and holds no demo; give another folder with --data", o.Data)
		}
	case err != nil:
		return nil, err
	default:
		err := json.Unmarshal(text, r)
		if err == nil && r.Complete && !o.Fresh {
			return r, nil
		}
		if err := clearFolder(o.Data); err != nil {
			return nil, err
		}
		r = &record{}
	}
	return r, r.save(o.Data)
}

// clearFolder removes what a demo and its house have written, and nothing else.
func clearFolder(folder string) error {
	there, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range there {
		name := e.Name()
		ours := strings.HasPrefix(name, house.GatewayFile) || strings.HasPrefix(name, house.ConsoleFile) || name == house.KeyFile || name == house.NodeFolder
		if ours {
			if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// save writes the record, which has passwords in it.
func (r *record) save(folder string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return WriteFile(filepath.Join(folder, recordFile), append(b, '\n'))
}

// WriteFile writes a file that only its owner reads: whole, or not at all.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// ready asks the console for all that the ready file says.
func (s *seeder) ready(ctx context.Context) (Ready, error) {
	r := Ready{Accounts: s.record.Accounts, Group: Group{ID: sharedGroup, Domain: Domains[0]}, Routes: []Route{}, Packages: []Package{}}
	buyer := s.as(s.record.buyer())
	have, err := Services(ctx, buyer)
	if err != nil {
		return r, err
	}
	bought := map[string]bool{}
	for _, v := range have {
		bought[v.Product] = true
		for _, p := range v.Parts {
			r.Packages = append(r.Packages, Package{ID: p.ID, Product: v.Product, Total: p.Total, Used: p.Used})
		}
	}
	for _, p := range products {
		e := s.record.Products[p.Key]
		if !bought[e.Product] {
			continue
		}
		var g struct {
			Interfaces []struct {
				ID     string `json:"id"`
				Method string `json:"method"`
				Path   string `json:"path"`
				Chosen bool   `json:"chosen"`
			} `json:"interfaces"`
		}
		if err := s.as(s.record.seller(e.Seller)).Get(ctx, "/seller/apis/"+e.Group, &g); err != nil {
			return r, err
		}
		for _, i := range g.Interfaces {
			if i.Chosen {
				r.Routes = append(r.Routes, Route{ID: i.ID + sharedMark, Method: i.Method, Path: i.Path, Product: e.Product})
			}
		}
	}
	r.App, err = FirstApp(ctx, buyer)
	return r, err
}

// FirstApp is the app that purchases are granted to, with its credentials.
func FirstApp(ctx context.Context, buyer Client) (App, error) {
	var list struct {
		Apps []struct {
			ID string `json:"id"`
		} `json:"apps"`
	}
	if err := buyer.Get(ctx, "/apps", &list); err != nil {
		return App{}, err
	}
	for _, one := range list.Apps {
		var shown struct {
			APIs    []struct{} `json:"apis"`
			Secrets []struct {
				Name  string `json:"name"`
				Value string `json:"value"`
			} `json:"secrets"`
		}
		if err := buyer.Get(ctx, "/apps/"+one.ID, &shown); err != nil {
			return App{}, err
		}
		if len(shown.APIs) == 0 {
			continue
		}
		app := App{ID: one.ID}
		for _, k := range shown.Secrets {
			if k.Name == "AppKey" {
				app.AppKey = k.Value
			}
		}
		reveal := func(what string) (string, error) {
			var v struct {
				Value string `json:"value"`
			}
			err := buyer.Post(ctx, "/apps/"+one.ID+"/"+what+"/reveal", nil, &v)
			return v.Value, err
		}
		var err error
		if app.AppSecret, err = reveal("secret"); err != nil {
			return app, err
		}
		app.AppCode, err = reveal("code")
		return app, err
	}
	return App{}, errors.New("the buyer has no app that may call anything")
}
