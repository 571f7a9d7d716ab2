package address

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/souk-market/souk/gateway/filter/filtertest"
)

func TestLists(t *testing.T) {
	b := filtertest.New(t, "address")
	for _, tt := range []struct {
		with string
		in   string
		out  string
	}{
		{`{"allow":["192.0.2.0/24","2001:db8::/32"]}`, "192.0.2.0 192.0.2.255 ::ffff:192.0.2.9 2001:db8:ffff::1", "192.0.3.0 192.0.1.255 2001:db9:: :: ::1"},
		{`{"deny":["192.0.2.7","10.0.0.0/8"]}`, "192.0.2.6 192.0.2.8 11.0.0.0 2001:db8::1", "192.0.2.7 10.255.255.255 ::ffff:10.1.2.3"},
		{`{"allow":["10.0.0.0/8"],"deny":["10.1.0.0/16"]}`, "10.0.255.255 10.2.0.0", "10.1.0.0 10.1.255.255 192.0.2.1"},
		{`{"allow":["::ffff:192.0.2.0/120"]}`, "192.0.2.9", "192.0.3.9"},
		{`{"allow":["0.0.0.0/0"]}`, "0.0.0.0 255.255.255.255", "::1 ::"}, // all of IPv4 is not all
		{`{"allow":["::/0"]}`, "::1 ffff::", "192.0.2.1"},
		{`{"allow":["192.0.2.9/24"]}`, "192.0.2.1", "192.0.3.1"}, // the host part means nothing
	} {
		chain := b.Make(tt.with)
		try := func(list, want string) {
			for _, a := range strings.Fields(list) {
				c := b.Call("GET /")
				c.From = netip.MustParseAddr(a)
				filtertest.Refused(t, b.Run(chain, c, filtertest.OK("")), want)
			}
		}
		try(tt.in, "")
		try(tt.out, "A403IP Access denied by IP Control Policy")
	}
}

// The merged ranges say what the prefixes say one by one.
func TestRangesAreThePrefixes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var prefixes []netip.Prefix
		var texts []string
		for range 1 + random.IntN(30) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(4)), byte(random.IntN(256))}), 20+random.IntN(13)).Masked()
			prefixes, texts = append(prefixes, p), append(texts, p.String())
		}
		l, err := newList("allow", texts)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(random.IntN(5)), byte(random.IntN(256))})
			want := false
			for _, p := range prefixes {
				want = want || p.Contains(a)
			}
			if got := l.has(a); got != want {
				t.Fatalf("%v in %v: %v, want %v", a, prefixes, got, want)
			}
		}
	}
}

func TestWrongSettings(t *testing.T) {
	many := `"10.0.0.1"` + strings.Repeat(`,"10.0.0.1"`, MaxEntries)
	filtertest.New(t, "address").Wrong(map[string]string{
		"":                       `it needs "allow" or "deny"`,
		`{"allow":["10.0.0"]}`:   `"10.0.0" is no address`,
		`{"deny":["fe80::1%e"]}`: `"fe80::1%e" is no address`,
		`{"allow":["::/64","::ffff:10.0.0.0/90"]}`: "mixes IPv4 and IPv6",
		fmt.Sprintf(`{"deny":[%s]}`, many):         "the most is 10000",
	})
}

func TestAllocatesNothing(t *testing.T) {
	b := filtertest.New(t, "address")
	chain, c := b.Make(`{"allow":["198.51.100.0/24"],"deny":["10.0.0.0/8"]}`), b.Call("GET /")
	if n := testing.AllocsPerRun(100, func() { _ = chain.Arrive[0].Arrive(c) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
