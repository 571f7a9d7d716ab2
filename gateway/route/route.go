// Package route finds the route of a call: host to group, header to stage, method and path
// to route.
//
// The table is built whole from a snapshot of the ledger and swapped through one atomic
// pointer: a call sees one table from its beginning to its end, and to look something up
// takes no lock. What a route's limits are, and where it leads, is for others.
package route

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
)

// Table is the gate that writes Group, Route and Params on a call.
type Table struct {
	groups atomic.Pointer[map[string]*group]
}

// group is a domain with a tree of paths for each stage.
type group struct {
	of     *control.Group
	stages [3]*node
}

// node is a place in the tree of paths; its edges are decoded segments.
type node struct {
	static map[string]*node
	param  *node
	leaf   []*target // routes that end here
	rest   []*target // routes whose last segment takes what is left
}

// target is a route at its place.
type target struct {
	route    *control.Route
	prepared any
	chain    *gate.Chain
	names    []string // of the parameters, in the order of the path
}

// Preparer makes of a route what is to be had with it on every call: what the proxy needs,
// and the chain of its filters.
type Preparer func(*control.Group, *control.Route) (any, *gate.Chain)

// Build replaces the table. What is not live is left out: it does not exist for callers.
func (t *Table) Build(groups []*control.Group, routes []*control.Route, prepare Preparer) {
	byID := make(map[control.GroupID]*group, len(groups))
	byHost := make(map[string]*group, len(groups))
	for _, g := range groups {
		if !g.Live {
			continue
		}
		made := &group{of: g, stages: [3]*node{{}, {}, {}}}
		byID[g.ID] = made
		for _, d := range g.Domains {
			byHost[strings.ToLower(d)] = made
		}
	}
	for _, r := range routes {
		g := byID[r.Group]
		if g == nil || !r.Live {
			continue
		}
		i, ok := stageOf([]byte(r.Stage))
		if !ok {
			continue // the control plane lets no such route through
		}
		made := &target{route: r}
		if prepare != nil {
			made.prepared, made.chain = prepare(g.of, r)
		}
		g.stages[i].add(made)
	}
	t.groups.Store(&byHost)
}

func (n *node) add(t *target) {
	path := strings.TrimPrefix(t.route.Path, "/")
	for more := true; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		switch {
		case segment == "[*]" && !more:
			t.names = append(t.names, "*")
			n.rest = put(n.rest, t)
			return
		case len(segment) > 2 && segment[0] == '[' && segment[len(segment)-1] == ']':
			t.names = append(t.names, segment[1:len(segment)-1])
			if n.param == nil {
				n.param = &node{}
			}
			n = n.param
		default:
			key := string(appendDecoded(nil, []byte(segment)))
			if n.static == nil {
				n.static = make(map[string]*node)
			}
			if n.static[key] == nil {
				n.static[key] = &node{}
			}
			n = n.static[key]
		}
	}
	n.leaf = put(n.leaf, t)
}

// put keeps routes of a named method before those of any.
func put(list []*target, t *target) []*target {
	if t.route.Method == anyMethod {
		return append(list, t)
	}
	return slices.Insert(list, 0, t)
}

const anyMethod = "ANY"

var stageHeader = []byte("X-Ca-Stage")

// Pass finds the route, or says what of the address is wrong.
func (t *Table) Pass(c *gate.Call) error {
	g, tree, err := t.tree(c)
	if err != nil {
		return err
	}
	c.Group = g.of
	c.Params = c.Params[:0]
	w := walk{method: c.Method, params: &c.Params}
	if len(c.Path) == 0 || c.Path[0] != '/' {
		return gate.Refuse("I400RU", "Invalid Request Uri `path`")
	}
	if err := checkPath(c.Path); err != nil {
		return err
	}
	found := w.find(tree, c.Path[1:])
	if found != nil {
		c.Route, c.Prepared, c.Chain = found.route, found.prepared, found.chain
		for i, name := range found.names {
			c.Params[i].Name = name
		}
		return nil
	}
	if w.known {
		return gate.Refuse("I405UM", "Unsupported Method `"+string(w.method)+"`")
	}
	return gate.Refuse("I404NF", "API not found `"+string(c.Path)+"`")
}

// Known reports whether the path of a call exists with any method.
func (t *Table) Known(c *gate.Call) error {
	_, tree, err := t.tree(c)
	if err != nil {
		return err
	}
	if len(c.Path) == 0 || c.Path[0] != '/' {
		return gate.Refuse("I400RU", "Invalid Request Uri `path`")
	}
	c.Params = c.Params[:0]
	w := walk{params: &c.Params}
	if w.find(tree, c.Path[1:]); !w.known {
		return gate.Refuse("I404NF", "API not found `"+string(c.Path)+"`")
	}
	return nil
}

func (t *Table) tree(c *gate.Call) (*group, *node, error) {
	var room [256]byte
	host := appendHost(room[:0], c.Host)
	groups := t.groups.Load()
	if groups == nil {
		return nil, nil, gate.Busy
	}
	g := (*groups)[string(host)]
	if g == nil {
		return nil, nil, gate.Refuse("I404DO", "Invalid Domain `"+string(host)+"`")
	}
	i, ok := stageOf(c.Fields.Header(stageHeader))
	if !ok {
		return nil, nil, gate.BadStage
	}
	return g, g.stages[i], nil
}

// stageOf is the place of a stage in a group.
func stageOf(name []byte) (int, bool) {
	if len(name) == 0 {
		return 0, true
	}
	for i, s := range [...]control.Stage{control.Release, control.Pre, control.Test} {
		if len(name) == len(s) && strings.EqualFold(string(s), string(name)) {
			return i, true
		}
	}
	return 0, false
}

// appendHost is a Host in lower case, without its port and without a last dot.
func appendHost(dst, host []byte) []byte {
	if i := bytes.LastIndexByte(host, ':'); i >= 0 && bytes.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1]
	}
	for _, c := range host {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// walk is one search of the tree. It goes back where a static segment led nowhere, so that
// what serves the method is found wherever it hangs.
type walk struct {
	method []byte
	params *[]gate.Param
	known  bool // a route of another method is there
}

func (w *walk) find(n *node, path []byte) *target {
	segment, left, more := path, []byte(nil), false
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		segment, left, more = path[:i], path[i+1:], true
	}
	if n.static != nil {
		if next := n.step(segment); next != nil {
			if t := w.end(next, left, more); t != nil {
				return t
			}
		}
	}
	if n.param != nil && len(segment) > 0 {
		w.push(segment)
		if t := w.end(n.param, left, more); t != nil {
			return t
		}
		w.pop()
	}
	if n.rest != nil {
		w.push(path)
		if t := w.pick(n.rest); t != nil {
			return t
		}
		w.pop()
	}
	return nil
}

// step follows the static edge of a segment. The room is on the stack.
func (n *node) step(segment []byte) *node {
	if bytes.IndexByte(segment, '%') < 0 {
		return n.static[string(segment)]
	}
	var room [128]byte
	return n.static[string(appendDecoded(room[:0], segment))]
}

func (w *walk) push(value []byte) { *w.params = append(*w.params, gate.Param{Value: value}) }
func (w *walk) pop()              { *w.params = (*w.params)[:len(*w.params)-1] }

func (w *walk) end(n *node, left []byte, more bool) *target {
	if more {
		return w.find(n, left)
	}
	return w.pick(n.leaf)
}

// pick chooses by method: its own, then GET for a HEAD, then any.
func (w *walk) pick(list []*target) *target {
	if len(list) == 0 {
		return nil
	}
	w.known = true
	var get, any *target
	for _, t := range list {
		switch {
		case string(w.method) == t.route.Method:
			return t
		case t.route.Method == "GET" && string(w.method) == "HEAD":
			get = t
		case t.route.Method == anyMethod && len(w.method) > 0:
			any = t
		}
	}
	if get != nil {
		return get
	}
	return any
}

// appendDecoded undoes percent escapes, for comparison only.
func appendDecoded(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// checkPath refuses what we and the seller's server could read as two different paths:
// dot segments, escaped or not, and an escaped NUL.
func checkPath(path []byte) error {
	if bytes.IndexByte(path, '.') < 0 && bytes.IndexByte(path, '%') < 0 {
		return nil
	}
	var room [256]byte
	decoded := appendDecoded(room[:0], path)
	for start, i := 0, 0; i <= len(decoded); i++ {
		if i < len(decoded) && decoded[i] == 0 {
			return badPath
		}
		if i < len(decoded) && decoded[i] != '/' && decoded[i] != '\\' {
			continue
		}
		if s := decoded[start:i]; string(s) == "." || string(s) == ".." {
			return badPath
		}
		start = i + 1
	}
	return nil
}

var badPath = gate.Refuse("I400PA", "Invalid Request Path `dot segment`")
