// Package address lets calls through by the address they come from: of an allow list, none
// but its own; of a deny list, all but its own. Behind trusted proxies the address is the
// one that they name.
//
// The setting:
//
//	{"allow": ["192.0.2.0/24", "2001:db8::/32"], "deny": ["192.0.2.7"]}
//
// With both, an address must be allowed and not denied. An address that stands alone is one
// address.
package address

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/souk-market/souk/gateway/filter/setting"
	"github.com/souk-market/souk/gateway/gate"
)

func init() { gate.Register(gate.Info{ID: "address", Place: 100, New: newFilter}) }

// MaxEntries bounds a list.
const MaxEntries = 10_000

type filter struct{ allow, deny *list }

// Denied is what a caller from elsewhere gets.
var Denied = gate.Refuse("A403IP", "Access denied by IP Control Policy")

func newFilter(env gate.Env) (any, error) {
	var with struct {
		Allow []string `json:"allow"`
		Deny  []string `json:"deny"`
	}
	if err := setting.Decode(env.With, &with); err != nil {
		return nil, err
	}
	if len(with.Allow) == 0 && len(with.Deny) == 0 {
		return nil, errors.New(`it needs "allow" or "deny", a list of addresses such as "192.0.2.0/24"`)
	}
	allow, err := newList("allow", with.Allow)
	if err != nil {
		return nil, err
	}
	deny, err := newList("deny", with.Deny)
	if err != nil {
		return nil, err
	}
	return &filter{allow, deny}, nil
}

// Arrive refuses who may not come.
func (f *filter) Arrive(c *gate.Call) error {
	a := c.From.Unmap().WithZone("")
	if f.deny.has(a) || f.allow != nil && !f.allow.has(a) {
		return Denied
	}
	return nil
}

// list is a set of addresses as ranges that do not touch, in their order, so that looking
// up is a binary search however long it is.
type list struct{ ranges []between }

type between struct{ first, last netip.Addr }

func newList(name string, entries []string) (*list, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	if len(entries) > MaxEntries {
		return nil, fmt.Errorf("%q has %d addresses; the most is %d", name, len(entries), MaxEntries)
	}
	var ranges []between
	for _, e := range entries {
		p, err := netip.ParsePrefix(e)
		if err != nil {
			a, err := netip.ParseAddr(e)
			if err != nil || a.Zone() != "" {
				return nil, fmt.Errorf(`%q: %q is no address; write "192.0.2.7", "192.0.2.0/24" or "2001:db8::/32"`, name, e)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if p.Addr().Is4In6() { // "::ffff:192.0.2.0/120" is an IPv4 range
			if p.Bits() < 96 {
				return nil, fmt.Errorf(`%q: %q mixes IPv4 and IPv6`, name, e)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		p = p.Masked()
		ranges = append(ranges, between{p.Addr(), last(p)})
	}
	slices.SortFunc(ranges, func(a, b between) int { return a.first.Compare(b.first) })
	merged := ranges[:1]
	for _, r := range ranges[1:] {
		end := &merged[len(merged)-1]
		if r.first.BitLen() == end.last.BitLen() && r.first.Compare(end.last) <= 0 {
			if end.last.Less(r.last) {
				end.last = r.last
			}
			continue
		}
		merged = append(merged, r)
	}
	return &list{merged}, nil
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := bytes.Clone(p.Addr().AsSlice())
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b) // it has the length of one
	return a
}

func (l *list) has(a netip.Addr) bool {
	if l == nil {
		return false
	}
	i, found := slices.BinarySearchFunc(l.ranges, a, func(r between, a netip.Addr) int { return r.first.Compare(a) })
	if found {
		return true
	}
	return i > 0 && a.BitLen() == l.ranges[i-1].last.BitLen() && a.Compare(l.ranges[i-1].last) <= 0
}
