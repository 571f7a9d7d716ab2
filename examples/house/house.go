// Package house puts the halves together: it opens the databases of a data folder, makes
// the gateway, the console and the inner listener, and ends them in the right order. The
// program's commands, the demo and the tests start a marketplace through it; so may a
// build with plug-ins of its own.
//
// It leaves to main.go how settings come in, and to console/standard which plug-ins there
// are.
package house

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // the market's zone, on machines that have none

	"go.uber.org/zap"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/storage"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// The databases of a data folder.
const (
	GatewayFile = "gateway.db"
	ConsoleFile = "console.db"
)

// NodeFolder is where, in a data folder, the gateway's process keeps what is its own.
const NodeFolder = "node"

// Options are what a house is made of. Folder is needed, and one address at least.
type Options struct {
	Folder string
	// Addresses to listen on; port 0 takes a free one. One that is empty is not served: a
	// house without the console's is a gateway node, one without the gateway's a console
	// node.
	Gateway, Console, Ops string
	// GatewayTLS is where apps call over TLS; empty: nowhere. The certificates are those of the
	// configuration, those of Certificates, and those that the authority gives.
	GatewayTLS   string
	Certificates []CertificateFiles
	// Authority gives certificates for the domains of groups, by ACME; nil: nobody does. Its
	// folder and key are those of the house.
	Authority *certificate.AuthorityOptions
	// Listen makes a listener; nil: net.Listen. A process that takes over from another gives
	// those that it was handed.
	Listen func(name, address string) (net.Listener, error)
	// TakeOver lets the house open beside another process on the folder, which is about to
	// end.
	TakeOver bool
	// Before, if it is set, is called with the gateway before it answers anybody.
	Before func(context.Context, *gateway.Server) error
	// MasterKey is 32 bytes; nil: from the folder, made there at the first start.
	MasterKey []byte
	// Public and GatewayPublic are the addresses as people type them, "https://…"; empty:
	// those of the listeners.
	Public, GatewayPublic string
	Suffix                string   // of the domains of new API groups; empty: "api.localhost"
	SharedDomains         []string // console.Config.SharedDomains
	AllowPrivateUpstreams bool
	// Limits, if it is set, changes what the gateway takes of its callers.
	Limits         func(*gateway.Options)
	Zone           *time.Location     // nil: the console's default
	Without        []string           // plug-ins to leave out
	Log, AccessLog *zap.Logger        // nil: nothing is logged
	Level          *zap.AtomicLevel   // of Log, to be changed on the inner side; nil: it cannot be
	OpsToken       string             // demanded on the inner side; empty: none
	Export         *ops.ExportOptions // where traces and metrics go; nil: nowhere
	Now            func() time.Time
}

// CertificateFiles are a chain and its key, in PEM. They are read again when they change.
type CertificateFiles struct{ Chain, Key string }

// House is a running marketplace, or a half of one.
type House struct {
	GatewayURL, ConsoleURL, OpsURL string // as people reach them; empty: not served
	GatewayTLS                     string // the address of the gateway's TLS; empty: there is none

	log       *zap.Logger
	databases []*storage.DB
	gateway   *gateway.Server    // nil on a console node
	export    *ops.Exporter      // nil: there is none
	store     *certificate.Store // nil: there is no TLS
	unread    context.CancelFunc // ends the reading of certificates
	plane     control.Plane
	inner     http.Handler // of the inner listener
	unwatch   context.CancelFunc
	console   *console.Console
	ops       *http.Server
	serving   sync.WaitGroup
	listening []net.Listener // that nobody serves yet
	listeners map[string]net.Listener
	failed    chan error
}

// Open starts everything, and returns once it can be called. Whatever was opened is closed
// again if a part fails.
func Open(ctx context.Context, o Options) (h *House, err error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Suffix == "" {
		o.Suffix = "api.localhost"
	}
	if o.Listen == nil {
		o.Listen = func(_, address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	h = &House{log: o.Log, failed: make(chan error, 3), listeners: map[string]net.Listener{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close(context.WithoutCancel(ctx)))
			h = nil
		}
	}()
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return h, fmt.Errorf("the data folder: %w", err)
	}
	if o.MasterKey == nil {
		if o.MasterKey, err = key(o.Folder); err != nil {
			return h, fmt.Errorf("the master key: %w", err)
		}
	}
	// All listeners come first: an address that is taken is the commonest fault, and the
	// console must know the gateway's.
	gatewayAt, err := h.listen(o, "gateway", o.Gateway)
	if err != nil {
		return h, err
	}
	tlsAt, err := h.listen(o, "gateway over TLS", o.GatewayTLS)
	if err != nil {
		return h, err
	}
	if tlsAt != nil {
		if gatewayAt == nil {
			return h, errors.New("the gateway over TLS: there is no gateway here")
		}
		h.GatewayTLS = tlsAt.Addr().String()
		if err := h.openCertificates(o); err != nil {
			return h, err
		}
	}
	consoleAt, err := h.listen(o, "console", o.Console)
	if err != nil {
		return h, err
	}
	opsAt, err := h.listen(o, "inner listener", o.Ops)
	if err != nil {
		return h, err
	}
	h.GatewayURL, h.ConsoleURL, h.OpsURL = reached(o.GatewayPublic, gatewayAt), reached(o.Public, consoleAt), reached("", opsAt)
	open := h.openGateway
	if gatewayAt == nil {
		open = h.openLedger
	}
	if err := open(ctx, o); err != nil {
		return h, err
	}
	if consoleAt != nil {
		if err := h.openConsole(ctx, o); err != nil {
			return h, err
		}
	}
	if o.Before != nil && h.gateway != nil {
		if err := o.Before(ctx, h.gateway); err != nil {
			return h, err
		}
	}
	h.serve(gatewayAt, consoleAt, opsAt)
	if tlsAt != nil {
		h.serving.Go(func() { h.end("gateway over TLS", h.gateway.ServeTLS(tlsAt)) })
	}
	return h, nil
}

func (h *House) listen(o Options, what, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := o.Listen(what, address)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w; end the program that has it, or choose another address", err)
		}
		return nil, fmt.Errorf("the %s: %w", what, err)
	}
	h.listening = append(h.listening, l)
	h.listeners[what] = l
	return l, nil
}

// Listeners are those that are served, by name, to be handed to the process that takes
// over.
func (h *House) Listeners() map[string]net.Listener { return maps.Clone(h.listeners) }

// reached is the address of a listener as people on this machine type it.
func reached(public string, l net.Listener) string {
	if public != "" || l == nil {
		return public
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "http://" + l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}).String()
}

func (h *House) database(folder, file string) (*storage.DB, error) {
	db, err := sqlite.Open(filepath.Join(folder, file))
	if err == nil {
		h.databases = append(h.databases, db)
	}
	return db, err
}

func (h *House) openGateway(ctx context.Context, o Options) (err error) {
	var tracer *ops.Tracer
	if o.Export != nil {
		to := *o.Export
		to.Log = o.Log.Named("otlp")
		if h.export, err = ops.NewExporter(to); err != nil {
			return err
		}
		tracer = h.export.Tracer
	}
	// The gateway opens its database itself: it can start without it, and try on.
	open := func() (*storage.DB, error) { return sqlite.Open(filepath.Join(o.Folder, GatewayFile)) }
	settings := gateway.Options{OpenDB: open, Folder: filepath.Join(o.Folder, NodeFolder), MasterKey: derive(o.MasterKey, "gateway"),
		AllowPrivateUpstreams: o.AllowPrivateUpstreams, TakeOver: o.TakeOver, Log: o.Log.Named("gateway"), AccessLog: o.AccessLog,
		Level: o.Level, OpsToken: o.OpsToken, Tracer: tracer, Certificates: h.store, Now: o.Now}
	if o.Limits != nil {
		o.Limits(&settings)
	}
	h.gateway, err = gateway.New(ctx, settings)
	if err != nil {
		h.gateway = nil
		return fmt.Errorf("gateway: %w", err)
	}
	if h.export != nil {
		m := h.gateway.Meter()
		h.export.Measure(m)
		m.Counter("souk_gateway_traces_dropped_total", "Steps of traces that the collector was not told of.", func() float64 { return float64(tracer.Dropped()) })
	}
	h.plane, h.inner = h.gateway.Plane(), h.gateway.Ops()
	return nil
}

// AuthorityFolder is where, in a data folder, certificates by ACME are kept, encrypted.
const AuthorityFolder = "acme"

// readEvery is how often the files of certificates are looked at.
const readEvery = 30 * time.Second

func (h *House) openCertificates(o Options) error {
	h.store = &certificate.Store{Now: o.Now}
	for _, f := range o.Certificates {
		if err := h.store.AddFiles(f.Chain, f.Key); err != nil {
			return err
		}
	}
	if o.Authority != nil {
		a := *o.Authority
		a.Folder, a.Key = filepath.Join(o.Folder, AuthorityFolder), derive(o.MasterKey, "acme")
		var err error
		if h.store.Authority, err = certificate.NewAuthority(a); err != nil {
			return err
		}
	}
	read, stop := context.WithCancel(context.Background())
	h.unread = stop
	h.serving.Go(func() {
		tick := time.NewTicker(readEvery)
		defer tick.Stop()
		for {
			select {
			case <-read.Done():
				return
			case <-tick.C:
				if err := h.store.Reload(); err != nil {
					h.log.Warn("certificates", zap.Error(err))
				}
			}
		}
	})
	return nil
}

// Reload reads the files of certificates at once, if they have changed. Connections that
// are open stay open.
func (h *House) Reload() error {
	if h.store == nil {
		return nil
	}
	return h.store.Reload()
}

// openLedger opens what a console needs where the gateway is another process: the ledger
// without the half that spends.
//
// Why: who spends first gives back what its node's former process had leased. Two of them
// on one database would hand out the same calls twice.
func (h *House) openLedger(ctx context.Context, o Options) error {
	db, err := h.database(o.Folder, GatewayFile)
	if err != nil {
		return err
	}
	l, err := ledger.Open(ctx, ledger.Options{DB: db, MasterKey: derive(o.MasterKey, "gateway"), Now: o.Now, Log: o.Log.Named("ledger")})
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.unwatch = stop
	h.serving.Go(func() { l.Watch(watch) })
	h.plane, h.inner = l, ops.Handler(ops.NewMeter(), func(ctx context.Context) []string {
		var one int
		if err := db.Read().QueryRow(ctx, "SELECT 1").Scan(&one); err != nil {
			return []string{"the database does not answer"}
		}
		return nil
	})
	return nil
}

func (h *House) openConsole(ctx context.Context, o Options) error {
	db, err := h.database(o.Folder, ConsoleFile)
	if err != nil {
		return err
	}
	c, err := console.New(ctx, console.Config{DB: db, Gateway: h.plane, Secret: derive(o.MasterKey, "console"),
		Log: o.Log.Named("console"), Now: o.Now, Zone: o.Zone, Public: o.Public, GatewayAddress: h.GatewayURL, Suffix: o.Suffix,
		SharedDomains: o.SharedDomains, AllowPrivateUpstreams: o.AllowPrivateUpstreams, Without: o.Without})
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	h.console = c
	return nil
}

// serve hands each listener to who answers on it.
func (h *House) serve(gatewayAt, consoleAt, opsAt net.Listener) {
	h.listening = nil
	if gatewayAt != nil {
		h.serving.Go(func() { h.end("gateway", h.gateway.Serve(gatewayAt)) })
	}
	if consoleAt != nil {
		h.console.Start(consoleAt)
	}
	if opsAt != nil {
		h.ops = &http.Server{Handler: h.inner, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
		h.serving.Go(func() { h.end("inner listener", h.ops.Serve(opsAt)) })
	}
}

// end notes that a listener was served to its end, which is a fault unless we closed it.
func (h *House) end(what string, err error) {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return
	}
	select {
	case h.failed <- fmt.Errorf("the %s: %w", what, err):
	default:
	}
}

// Failed tells of a listener that ended by itself.
func (h *House) Failed() <-chan error { return h.failed }

// Console is the running console; nil on a gateway node.
func (h *House) Console() *console.Console { return h.console }

// Gateway is the running gateway; nil on a console node.
func (h *House) Gateway() *gateway.Server { return h.gateway }

// SetUpToken lets the first operator in once; empty if there is one, or no console here.
func (h *House) SetUpToken(ctx context.Context) (string, error) {
	if h.console == nil {
		return "", nil
	}
	s, err := console.Need[market.SetUp](h.console.Host())
	if err != nil {
		return "", err
	}
	return s.FirstOperator(ctx)
}

// Ready waits until calls can be answered.
func (h *House) Ready(ctx context.Context) error {
	if h.gateway == nil {
		return nil
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := h.gateway.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the gateway is not ready: %w", errors.Join(err, ctx.Err()))
		case <-again.C:
		}
	}
}

// Close drains and ends everything, as long as ctx allows: first nobody comes in any more,
// then the console's work ends, since it talks to the gateway, then the gateway settles.
func (h *House) Close(ctx context.Context) error {
	return h.close(ctx, func() []error {
		var errs []error
		if h.console != nil {
			errs = append(errs, h.console.Stop(ctx))
		}
		if h.gateway != nil {
			errs = append(errs, h.gateway.Close(ctx))
		}
		return errs
	})
}

// pagesFor is how long the console's work has to end once another process has taken over.
const pagesFor = 20 * time.Second

// Leave is Close after another process has taken over: nobody comes in any more at once,
// and streams may live on as long as ctx allows. What the console has under way ends beside
// that; the other one's goes on.
func (h *House) Leave(ctx context.Context) error {
	return h.close(ctx, func() []error {
		var both sync.WaitGroup
		var errs [3]error
		short, cancel := context.WithTimeout(ctx, pagesFor)
		defer cancel()
		if h.ops != nil {
			both.Go(func() { errs[2] = h.ops.Shutdown(short) }) // it would say that we are draining
		}
		if h.gateway != nil {
			both.Go(func() { errs[0] = h.gateway.Close(ctx) })
		}
		if h.console != nil {
			both.Go(func() { errs[1] = h.console.Stop(short) })
		}
		both.Wait()
		return errs[:]
	})
}

func (h *House) close(ctx context.Context, halves func() []error) error {
	var errs []error
	for _, l := range h.listening {
		errs = append(errs, l.Close())
	}
	h.listening = nil
	errs = append(errs, halves()...)
	if h.export != nil {
		errs = append(errs, h.export.Close(ctx))
	}
	if h.ops != nil {
		errs = append(errs, h.ops.Shutdown(ctx))
	}
	if h.unwatch != nil {
		h.unwatch()
	}
	if h.unread != nil {
		h.unread()
	}
	h.serving.Wait()
	for _, db := range h.databases {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}
