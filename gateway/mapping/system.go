package mapping

import (
	"bytes"
	"slices"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// system makes the value of a system parameter.
type system func(*gate.Call) []byte

// Proxy is the value of CaProxy: who asks the seller.
const Proxy = "Souk"

var systems = map[string]system{
	"CaClientIp":           func(c *gate.Call) []byte { return c.From.Unmap().AppendTo(nil) },
	"CaDomain":             domain,
	"CaRequestHandleTime":  func(c *gate.Call) []byte { return c.At.UTC().AppendFormat(nil, time.RFC3339) },
	"CaAppId":              func(c *gate.Call) []byte { return []byte(c.App) },
	"CaAppKey":             func(c *gate.Call) []byte { return []byte(c.Key) },
	"CaRequestId":          func(c *gate.Call) []byte { return c.ID.Append(nil) },
	"CaApiName":            func(c *gate.Call) []byte { return []byte(c.Route.Name) },
	"CaHttpSchema":         scheme,
	"CaProxy":              func(*gate.Call) []byte { return []byte(Proxy) },
	"CaStage":              stage,
	"CaMarketplaceProduct": func(c *gate.Call) []byte { return []byte(c.Route.Product) },
}

// Systems are the names of the system parameters, sorted.
func Systems() []string {
	var names []string
	for name := range systems {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// domain is the Host that was called, without its port.
func domain(c *gate.Call) []byte {
	host := c.Host
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return host
}

func scheme(c *gate.Call) []byte {
	if c.TLS {
		return []byte("https")
	}
	return []byte("http")
}

func stage(c *gate.Call) []byte {
	if c.Route.Stage == "" {
		return []byte(control.Release)
	}
	return []byte(c.Route.Stage)
}
