package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gatewaytest"
)

// A seller who answers as soon as he has read a body may be faster than whoever brings it to
// him. The caller's connection serves on all the same: nothing of the body is left on it.
func TestBodiesThatAreAnsweredAtOnceKeepTheirConnection(t *testing.T) {
	h, address, credential, _ := locked(t, nil)
	chain, key := own(t, 1, gatewaytest.Domain)
	h.Apply(&control.Secret{ID: "sec_a", Value: key, Live: true},
		&control.Certificate{ID: "crt_a", Domains: []string{gatewaytest.Domain}, Chain: string(chain), Key: "sec_a", Live: true},
		&control.Package{ID: "pkg_more", Grant: "grt_hangzhou_weather", Calls: 10_000, From: gatewaytest.Start.Add(-time.Hour), Live: true})
	for round := range 20 {
		for url, c := range map[string]*http.Client{
			"https://" + address + "/a": client(t, address, chain, false),
			"http://" + h.Addr + "/a":   client(t, address, chain, false),
		} {
			for i := range 15 {
				r, err := http.NewRequest("POST", url, strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				r.Host = gatewaytest.Domain
				r.Header.Set("Authorization", credential)
				a, err := c.Do(r)
				if err != nil {
					t.Fatalf("%s, connection %d, call %d: %v", url, round, i, err)
				}
				if _, err := io.ReadAll(a.Body); err != nil || a.StatusCode != 200 || a.Close {
					t.Fatalf("%s, connection %d, call %d: %s, close %v, %v", url, round, i, a.Status, a.Close, err)
				}
				_ = a.Body.Close() // it was read to its end
			}
		}
	}
}
