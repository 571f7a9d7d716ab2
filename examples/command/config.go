package command

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/certificate"
	"github.com/souk-market/souk/gateway/ops"
	"github.com/souk-market/souk/gateway/wire"
)

// settings are what a node must know of its machine. What an operator decides is in the
// database, with a page.
type settings struct {
	config string

	data, console, gateway, ops string
	public, gatewayPublic       string
	suffix                      string
	shared                      []string
	private                     bool
	zone                        string
	without                     []string
	log                         string
	accessLog                   bool
	accessFile                  string
	otlp                        string
	otlpRatio                   float64
	streams                     time.Duration
	proxies                     []string
	secureCodes                 bool
	maxConns, maxConnsPer       int
	maxHead                     int
	headFor, bodyFor, writeFor  time.Duration
	idleFor                     time.Duration
	gatewayTLS                  string
	tlsCert, tlsKey             []string
	acme, acmeEmail             string

	level   *zap.AtomicLevel // of the log, once there is one
	endLogs func() error     // writes what waits
}

// file is the configuration file. Each field is named as its flag; a name that is none of
// them is refused, so that a misspelt setting is not lost in silence.
type file struct {
	Data                  *string  `yaml:"data"`
	Console               *string  `yaml:"console"`
	Gateway               *string  `yaml:"gateway"`
	Ops                   *string  `yaml:"ops"`
	Public                *string  `yaml:"public"`
	GatewayPublic         *string  `yaml:"gateway-public"`
	Suffix                *string  `yaml:"suffix"`
	SharedDomains         []string `yaml:"shared-domains"`
	AllowPrivateUpstreams *bool    `yaml:"allow-private-upstreams"`
	Zone                  *string  `yaml:"zone"`
	Without               []string `yaml:"without"`
	Log                   *string  `yaml:"log"`
	AccessLog             *bool    `yaml:"access-log"`
	AccessLogFile         *string  `yaml:"access-log-file"`
	OTLP                  *string  `yaml:"otlp"`
	OTLPRatio             *float64 `yaml:"otlp-ratio"`
	Streams               *string  `yaml:"streams"`
	TrustedProxies        []string `yaml:"trusted-proxies"`
	SecureAppCodes        *bool    `yaml:"secure-app-codes"`
	MaxConnections        *int     `yaml:"max-connections"`
	MaxPerAddress         *int     `yaml:"max-connections-per-address"`
	MaxHead               *int     `yaml:"max-head"`
	HeadTimeout           *string  `yaml:"head-timeout"`
	BodyTimeout           *string  `yaml:"body-timeout"`
	WriteTimeout          *string  `yaml:"write-timeout"`
	IdleTimeout           *string  `yaml:"idle-timeout"`
	GatewayTLS            *string  `yaml:"gateway-tls"`
	TLSCert               []string `yaml:"tls-cert"`
	TLSKey                []string `yaml:"tls-key"`
	ACME                  *string  `yaml:"acme"`
	ACMEEmail             *string  `yaml:"acme-email"`
}

func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.config, "config", "", "YAML file with any of these settings")
	f.StringVar(&s.data, "data", "./souk-data", "folder for databases and the master key")
	f.StringVar(&s.console, "console", "127.0.0.1:8090", "address of market and console")
	f.StringVar(&s.gateway, "gateway", "127.0.0.1:8080", "address that apps call")
	f.StringVar(&s.gatewayTLS, "gateway-tls", "", "address that apps call over TLS, by HTTP/1.1 and HTTP/2 (empty: none)")
	f.StringSliceVar(&s.tlsCert, "tls-cert", nil, "files with certificate chains for it, in PEM; the first is for callers who name no domain of ours")
	f.StringSliceVar(&s.tlsKey, "tls-key", nil, "files with their private keys, in the same order")
	f.StringVar(&s.acme, "acme", "", "get certificates for the domains of groups by ACME: 'letsencrypt', or the https address of a directory; with it its terms are accepted")
	f.StringVar(&s.acmeEmail, "acme-email", "", "where the authority may write to")
	f.StringVar(&s.ops, "ops", "127.0.0.1:8099", "inner address: health, metrics, profiles; never make it public")
	f.StringVar(&s.public, "public", "", "the console's address as people type it, https://… (empty: the listener's)")
	f.StringVar(&s.gatewayPublic, "gateway-public", "", "the gateway's address as apps call it (empty: the listener's)")
	f.StringVar(&s.suffix, "suffix", "api.localhost", "what the domains of new API groups end with")
	f.StringSliceVar(&s.shared, "shared-domains", nil, "host names under which every product can be called too")
	f.BoolVar(&s.private, "allow-private-upstreams", false, "let sellers' servers be on loopback and private addresses")
	f.StringVar(&s.zone, "zone", "Asia/Shanghai", "time zone of the market, in which months are reckoned")
	f.StringSliceVar(&s.without, "without", nil, "plug-ins to leave out, by ID")
	f.StringVar(&s.log, "log", "info", "debug, info, warn or error")
	f.BoolVar(&s.accessLog, "access-log", false, "one line for each call of the gateway")
	f.StringVar(&s.accessFile, "access-log-file", "", "write those lines here instead; begun anew each day and after 100 MiB, kept for a fortnight")
	f.StringVar(&s.otlp, "otlp", "", "collector that traces and metrics are sent to, by OTLP over HTTP: http://127.0.0.1:4318")
	f.Float64Var(&s.otlpRatio, "otlp-ratio", 0.01, "part of the traces that begin here and are sent; those that callers mark are sent anyway")
	f.StringSliceVar(&s.proxies, "trusted-proxies", nil, "addresses or networks of balancers that may say in X-Forwarded-For and X-Forwarded-Proto who calls")
	f.BoolVar(&s.secureCodes, "secure-app-codes", false, "refuse AppCodes that come over plain HTTP")
	f.IntVar(&s.maxConns, "max-connections", gateway.DefaultMaxConns, "connections of callers; further ones wait")
	f.IntVar(&s.maxConnsPer, "max-connections-per-address", 0, "of one address; further ones are closed (0: no bound)")
	f.IntVar(&s.maxHead, "max-head", wire.DefaultHead, "bytes of a request line and its headers")
	f.DurationVar(&s.headFor, "head-timeout", gateway.DefaultHeadTimeout, "how long a head may take from its first byte to its last")
	f.DurationVar(&s.bodyFor, "body-timeout", gateway.DefaultBodyTimeout, "how long nothing may come of a body; after that it must come at 1 KiB/s")
	f.DurationVar(&s.writeFor, "write-timeout", gateway.DefaultWriteTimeout, "how long a caller may take for 32 KiB of an answer")
	f.DurationVar(&s.idleFor, "idle-timeout", gateway.DefaultIdleTimeout, "how long a connection may be idle between two calls")
	f.DurationVar(&s.streams, "streams", time.Hour, "how long streams may live on here after another process has taken over")
}

// networks reads addresses and networks: "10.0.0.7", "10.0.0.0/8".
func networks(list []string) (all []netip.Prefix, err error) {
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if a, aerr := netip.ParseAddr(text); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("trusted-proxies: %q is neither an address nor a network, such as 10.0.0.7 or 10.0.0.0/8", text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// load fills in what the command line does not say, from the environment and, where the
// command has --config, from the file.
func load(cmd *cobra.Command) error {
	flags := cmd.Flags()
	path := ""
	if f := flags.Lookup("config"); f != nil {
		path = f.Value.String()
		if v, ok := os.LookupEnv(twin("config")); ok && !f.Changed {
			path = v
		}
	}
	values := map[string]string{}
	if path != "" {
		if err := readFile(path, values); err != nil {
			return usageError{err}
		}
	}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		value, from := values[f.Name], path
		_, given := values[f.Name]
		if v, ok := os.LookupEnv(twin(f.Name)); ok {
			value, from, given = v, twin(f.Name), true
		}
		if !given || f.Changed || f.Name == "config" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("%s, from %s: %w", f.Name, from, err))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return usageError{err}
	}
	return nil
}

// twin is a flag's name in the environment.
func twin(flag string) string {
	return "SOUK_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func readFile(path string, into map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var f file
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	v := reflect.ValueOf(f)
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Tag.Get("yaml")
		switch {
		case field.IsNil():
		case field.Kind() == reflect.Slice:
			into[name] = strings.Join(field.Interface().([]string), ",")
		default:
			into[name] = fmt.Sprint(field.Elem().Interface())
		}
	}
	return nil
}

// loggers write to the standard error stream: what people should know, and calls. Calls go
// to a file of their own if there is one. endLogs is called when nothing is logged any more.
func (s *settings) loggers() (log, access *zap.Logger, err error) {
	level, err := zapcore.ParseLevel(s.log)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("log: %w", err)}
	}
	atomic := zap.NewAtomicLevelAt(level)
	s.level = &atomic
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.ISO8601TimeEncoder
	enc := zapcore.NewConsoleEncoder(c)
	log = zap.New(zapcore.NewCore(enc, zapcore.Lock(os.Stderr), atomic))
	s.endLogs = func() error { return nil }
	access = zap.NewNop()
	switch {
	case s.accessFile != "":
		access, s.endLogs = ops.AccessLog(&ops.LogFile{Path: s.accessFile, Keep: 14 * 24 * time.Hour})
	case s.accessLog:
		c.MessageKey = zapcore.OmitKey
		access = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(c), zapcore.Lock(os.Stderr), zap.InfoLevel))
	}
	return log, access, nil
}

// options are what a house is made of by these settings.
func (s *settings) options() (house.Options, error) {
	o := house.Options{Folder: s.data, Public: s.public, GatewayPublic: s.gatewayPublic, Suffix: s.suffix, SharedDomains: s.shared,
		AllowPrivateUpstreams: s.private, Without: s.without}
	var err error
	if o.Log, o.AccessLog, err = s.loggers(); err != nil {
		return o, err
	}
	o.Level, o.OpsToken = s.level, os.Getenv("SOUK_OPS_TOKEN")
	if s.otlp != "" {
		o.Export = &ops.ExportOptions{Endpoint: s.otlp, Ratio: s.otlpRatio}
		if o.Export.Instance, err = os.Hostname(); err != nil {
			return o, err
		}
	}
	if err := s.certificates(&o); err != nil {
		return o, err
	}
	trusted, err := networks(s.proxies)
	if err != nil {
		return o, usageError{err}
	}
	o.Limits = func(g *gateway.Options) {
		g.TrustedProxies, g.SecureAppCodes = trusted, s.secureCodes
		g.MaxConns, g.MaxConnsPerIP, g.MaxHead = s.maxConns, s.maxConnsPer, s.maxHead
		g.HeadTimeout, g.BodyTimeout, g.WriteTimeout, g.IdleTimeout = s.headFor, s.bodyFor, s.writeFor, s.idleFor
	}
	if o.Zone, err = time.LoadLocation(s.zone); err != nil {
		return o, usageError{fmt.Errorf("zone: %w", err)}
	}
	if text, ok := os.LookupEnv("SOUK_MASTER_KEY"); ok {
		if o.MasterKey, err = house.ParseKey(text); err != nil {
			return o, usageError{fmt.Errorf("SOUK_MASTER_KEY: %w", err)}
		}
	}
	return o, nil
}

// certificates are what the gateway shows over TLS.
func (s *settings) certificates(o *house.Options) error {
	if len(s.tlsCert) != len(s.tlsKey) {
		return usageError{fmt.Errorf("%d files for --tls-cert, %d for --tls-key; each chain needs its key", len(s.tlsCert), len(s.tlsKey))}
	}
	for i := range s.tlsCert {
		o.Certificates = append(o.Certificates, house.CertificateFiles{Chain: s.tlsCert[i], Key: s.tlsKey[i]})
	}
	if s.acme != "" {
		o.Authority = &certificate.AuthorityOptions{Directory: s.acme, Email: s.acmeEmail}
		if s.acme == "letsencrypt" {
			o.Authority.Directory = ""
		}
	}
	if s.gatewayTLS == "" && (len(s.tlsCert) > 0 || s.acme != "") {
		return usageError{errors.New("there are certificates, but --gateway-tls says no address to show them at")}
	}
	return nil
}
