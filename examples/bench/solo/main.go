// Command solo is a gateway alone with a market that is ready to be called, for whoever
// measures: an app with an AppCode and a key pair, a package that no run uses up, three
// limits that no run meets, and everything on that a paid call needs. It is given an empty
// folder, writes there the headers of a signed call for each path (file "headers", one a
// line, "/path Name: value" where it is for one path only), and then listens.
//
// The calls of a run are all the same, so the routes demand no nonce, and the timestamp is
// left out: the protocol allows both, and the signature is checked all the same.
//
// default.pgo is a profile of it with 64 busy connections, from /debug/pprof/profile at its
// -ops address. The toolchain builds it by that, and make release builds souk by it.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/storage/sqlite"
	"github.com/souk-market/souk/signer"
)

// paths are what the measuring programs ask for.
var paths = []string{"/1k", "/64k", "/delay"}

// settings are the command line.
type settings struct {
	folder         string
	port, upstream int
	inner          string
	routes, apps   int
	loops          int
}

func main() {
	var s settings
	flag.StringVar(&s.folder, "dir", "", "an empty folder for the run")
	flag.IntVar(&s.port, "port", 0, "port of loopback to answer on")
	flag.IntVar(&s.upstream, "upstream", 0, "port of loopback where the seller's server is")
	flag.StringVar(&s.inner, "ops", "", "inner address, for metrics and profiles; empty: none")
	flag.IntVar(&s.routes, "routes", 0, "further routes that nobody calls")
	flag.IntVar(&s.loops, "loops", 0, "event loops; 0: one for each processor; below 0: none")
	flag.IntVar(&s.apps, "apps", 0, "further apps that never call")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "solo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if s.folder == "" || s.port == 0 || s.upstream == 0 {
		return errors.New("needs -dir, -port and -upstream")
	}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return err
	}
	db, err := sqlite.Open(filepath.Join(s.folder, "gateway.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	log, err := zap.NewProduction(zap.IncreaseLevel(zap.WarnLevel))
	if err != nil {
		return err
	}
	g, err := gateway.New(ctx, gateway.Options{DB: db, Folder: filepath.Join(s.folder, "node"), MasterKey: make([]byte, 32),
		AllowPrivateUpstreams: true, Loops: s.loops, Log: log})
	if err != nil {
		return err
	}
	defer func() {
		late, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, g.Close(late))
	}()
	c, err := fill(ctx, g.Plane(), s)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.folder, "headers"), []byte(headers(c)), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.folder, "appcode"), []byte("Authorization: APPCODE "+c.AppCode+"\n"), 0o600); err != nil {
		return err
	}
	return serve(ctx, g, s)
}

// serve answers until the program is told to end.
func serve(ctx context.Context, g *gateway.Server, s settings) error {
	failed := make(chan error, 2)
	if s.inner != "" {
		inner := &http.Server{Addr: s.inner, Handler: g.Ops(), ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- inner.ListenAndServe() }()
		defer func() { _ = inner.Close() }() // the program ends
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)))
	if err != nil {
		return err
	}
	go func() { failed <- g.Serve(l) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// fill tells the gateway what the run needs.
func fill(ctx context.Context, p control.Plane, s settings) (control.Credentials, error) {
	c, err := p.CreateApp(ctx, control.App{ID: "app_bench", Owner: "acc_bench", Name: "bench", Live: true})
	if err != nil {
		return c, err
	}
	changes := []control.Change{
		&control.Group{ID: "grp_bench", Name: "bench", Domains: []string{"127.0.0.1", "localhost", "bench.test"}, Live: true},
		&control.Grant{ID: "grt_bench", App: "app_bench", Product: "prd_bench", Live: true},
		&control.Package{ID: "pkg_bench", Grant: "grt_bench", Calls: 10_000_000_000, From: time.Now().Add(-time.Hour), Live: true},
	}
	for _, path := range paths {
		changes = append(changes, route(s, "rte_bench"+path[1:], path))
	}
	for i := range s.routes {
		changes = append(changes, route(s, fmt.Sprintf("rte_%d", i), fmt.Sprintf("/v%d/thing-%d/[id]", i%100, i)))
	}
	const batch = 1000
	for len(changes) > 0 {
		n := min(batch, len(changes))
		if err := p.Apply(ctx, changes[:n]...); err != nil {
			return c, err
		}
		changes = changes[n:]
	}
	for i := range s.apps {
		id := control.AppID("app_" + strconv.Itoa(i))
		if _, err := p.CreateApp(ctx, control.App{ID: id, Owner: "acc_bench", Name: string(id), Live: true}); err != nil {
			return c, err
		}
	}
	return c, nil
}

func route(s settings, id, path string) *control.Route {
	return &control.Route{ID: control.RouteID(id), Group: "grp_bench", Product: "prd_bench", Name: path, Method: "GET", Path: path,
		Upstream: "http://127.0.0.1:" + strconv.Itoa(s.upstream), Live: true,
		Limits: []control.Limit{
			{Name: "all callers", By: control.ByRoute, Calls: 1_000_000, Window: time.Second},
			{Name: "one app", By: control.ByApp, Calls: 100_000_000, Window: time.Minute},
			{Name: "one account", By: control.ByUser, Calls: 10_000_000_000, Window: 24 * time.Hour},
		}}
}

// accept is sent and signed, as most clients send one of their own.
const accept = "application/json"

// headers are those of signed calls.
func headers(c control.Credentials) string {
	var b strings.Builder
	common := gate.Fields{
		{Name: []byte("Accept"), Value: []byte(accept)},
		{Name: []byte(signer.HeaderKey), Value: []byte(c.AppKey)},
		{Name: []byte(signer.HeaderSignatureMethod), Value: []byte(signer.HmacSHA256)},
		{Name: []byte(signer.HeaderSignatureHeaders), Value: []byte(strings.ToLower(signer.HeaderKey))},
	}
	for _, f := range common {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	var v signer.Verifier
	for _, path := range paths {
		text := v.StringToSign(&signer.Request{Method: []byte("GET"), Target: []byte(path), Headers: &common}, signer.Canonical)
		mac := hmac.New(sha256.New, []byte(c.AppSecret))
		mac.Write(text)
		fmt.Fprintf(&b, "%s %s: %s\n", path, signer.HeaderSignature, base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return b.String()
}
