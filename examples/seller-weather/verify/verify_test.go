package verify

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	_ "github.com/souk-market/souk/gateway/filter/sign"

	"github.com/souk-market/souk/examples/seller-weather/weather"
	"github.com/souk-market/souk/gateway/filter/filtertest"
	"github.com/souk-market/souk/gateway/gate"
)

// forward sends what a filter made to the seller, as the gateway would.
func forward(t *testing.T, address, base string, c *gate.Call) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := c.Outgoing()
	fmt.Fprintf(conn, "%s %s%s?%s HTTP/1.1\r\nHost: seller.test\r\nConnection: close\r\nX-Ca-Request-Id: %s\r\nContent-Length: %d\r\n", o.Method, base, o.Path, o.Query, c.ID, len(c.Body))
	for _, f := range o.Fields {
		fmt.Fprintf(conn, "%s: %s\r\n", f.Name, f.Value)
	}
	fmt.Fprintf(conn, "\r\n%s", c.Body)
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	text, _ := io.ReadAll(a.Body)
	return a.StatusCode, strings.TrimSpace(string(text))
}

// K14, end to end: the weather's seller answers what the gateway has signed, and nothing
// else.
func TestSellerKnowsTheGateway(t *testing.T) {
	b := filtertest.New(t, "sign")
	b.Secrets["sec_a"], b.Secrets["sec_b"] = "0123456789abcdef", "fedcba9876543210"
	chain := b.Make(`{"keys":[{"id":"new","secret":"sec_b","from":"2026-11-24T13:00:00Z"},{"id":"old","secret":"sec_a"}],"headers":["X-City"],"digest":true}`)
	v := &Verifier{Keys: map[string][]byte{"old": []byte("0123456789abcdef"), "new": []byte("fedcba9876543210")}, Base: "/v2", Digest: true, Now: b.Now}
	seller := httptest.NewServer(v.Handler(http.StripPrefix("/v2", weather.Handler(b.Now))))
	defer seller.Close()
	address := seller.Listener.Addr().String()

	try := func(want int, change func(*gate.Call), lines ...string) {
		t.Helper()
		c := b.Call(lines...)
		if r := b.Run(chain, c, filtertest.OK("")); r != nil {
			t.Fatal(r)
		}
		change(c)
		if got, body := forward(t, address, "/v2", c); got != want {
			t.Errorf("%q: %d %s, want %d", lines, got, body, want)
		}
	}
	as := func(*gate.Call) {}
	set := func(name, value string) func(*gate.Call) {
		return func(c *gate.Call) { c.Outgoing().Set([]byte(name), []byte(value)) }
	}
	get := []string{"GET /weather/now?city=%E6%9D%AD%E5%B7%9E&a", "X-City: Hz", "Accept: */*"}
	try(200, as, get...)
	try(405, as, "POST /weather/now?city=hangzhou", "Content-Type: application/json", "", `{"a":1}`) // it is past the verifier
	try(403, func(c *gate.Call) { c.Outgoing().Query = []byte("city=beijing") }, get...)
	try(403, func(c *gate.Call) { c.Outgoing().Path = []byte("/weather/daily") }, get...)
	try(403, func(c *gate.Call) { c.Outgoing().Method = []byte("DELETE") }, get...)
	try(403, func(c *gate.Call) { c.ID[0]++ }, get...)
	try(403, func(c *gate.Call) { c.Body = []byte(`{"a":2}`) }, "POST /weather/now?a", "", `{"a":1}`)
	try(403, func(c *gate.Call) { c.Outgoing().Drop([]byte("Content-MD5")) }, "POST /weather/now?a", "", `{"a":1}`)
	try(403, set("X-City", "Bj"), get...)
	try(403, set("X-Ca-Proxy-Signature-Secret-Key", "new"), get...)
	try(403, set("X-Ca-Proxy-Signature-Secret-Key", "none"), get...)
	try(403, set("X-Ca-Proxy-Signature-Headers", "x-city"), get...)
	try(403, set("X-Ca-Proxy-Signature", ""), get...)
	if got, _ := forward(t, address, "", b.Call(get...)); got != 403 {
		t.Errorf("who comes by himself gets %d", got)
	}
	b.Pass(time.Hour) // the new key
	try(200, as, get...)
	old := b.Call(get...)
	b.Run(chain, old, filtertest.OK(""))
	b.Pass(5*time.Minute + time.Second)
	if got, body := forward(t, address, "/v2", old); got != 403 || body != ErrTime.Error() {
		t.Errorf("an old request gets %d %s", got, body)
	}
}
