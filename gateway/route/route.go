// Package route finds the route of a call: host to group, header to stage, method and path
// to route.
//
// The table is a tree that is never changed. An update makes another one, which shares with
// the old one all that did not change, and swaps one atomic pointer: a call sees one table
// from its beginning to its end, and to look something up takes no lock. What a route's
// limits are, and where it leads, is for others.
package route

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/signer"
)

// Table is the gate that writes Group, Route and Params on a call.
type Table struct {
	hosts atomic.Pointer[trie[*group]]

	mu     sync.Mutex // one update at a time; guards what follows
	groups map[control.GroupID]*members
	routes map[control.RouteID]*control.Route
}

// members are a group and all routes that it has, live or not.
type members struct {
	of     *control.Group // nil: only its routes are known yet
	now    *group         // as calls see it; nil: not at all
	routes map[control.RouteID]*target
}

// group is a live group with a tree of paths for each stage.
type group struct {
	of     *control.Group
	stages [3]*node
}

// node is a place in the tree of paths; its edges are decoded segments.
type node struct {
	static trie[*node]
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
	placed   bool     // it stands in its group's tree
}

// Preparer makes of a route what is to be had with it on every call: what the proxy needs,
// and the chain of its filters.
type Preparer func(*control.Group, *control.Route) (any, *gate.Chain)

// Build replaces the table. What is not live is left out: it does not exist for callers.
func (t *Table) Build(groups []*control.Group, routes []*control.Route, prepare Preparer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups, t.routes = nil, nil
	t.update(trie[*group]{}, groups, routes, prepare)
}

// Update takes groups and routes that are new or changed; all others stay. Each of the
// routes is prepared anew, and with a group all of its routes. What it costs does not depend
// on how many others there are.
func (t *Table) Update(groups []*control.Group, routes []*control.Route, prepare Preparer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var hosts trie[*group]
	if p := t.hosts.Load(); p != nil {
		hosts = *p
	}
	t.update(hosts, groups, routes, prepare)
}

func (t *Table) update(hosts trie[*group], groups []*control.Group, routes []*control.Route, prepare Preparer) {
	if t.groups == nil {
		t.groups, t.routes = map[control.GroupID]*members{}, map[control.RouteID]*control.Route{}
	}
	if prepare == nil {
		prepare = func(*control.Group, *control.Route) (any, *gate.Chain) { return nil, nil }
	}
	before := map[*members]*group{} // as it was, of those that change
	touch := func(id control.GroupID) *members {
		m := t.groups[id]
		if m == nil {
			m = &members{routes: map[control.RouteID]*target{}}
			t.groups[id] = m
		}
		if _, ok := before[m]; !ok {
			before[m] = m.now
			if m.now != nil {
				next := *m.now
				m.now = &next
			}
		}
		return m
	}
	fresh := map[*members]bool{}
	for _, g := range groups {
		m := touch(g.ID)
		m.of, m.now = g, nil
		if g.Live {
			m.now = &group{of: g}
		}
		fresh[m] = true
	}
	for _, r := range routes {
		if old := t.routes[r.ID]; old != nil {
			m := touch(old.Group)
			if m.now != nil && !fresh[m] {
				m.now.remove(m.routes[r.ID])
			}
			delete(m.routes, r.ID)
		}
		t.routes[r.ID] = r
		m := touch(r.Group)
		m.routes[r.ID] = &target{route: r}
		if m.now != nil && !fresh[m] {
			m.now.add(m.routes[r.ID], prepare)
		}
	}
	for m := range fresh {
		// By ID, so that of two routes of one place always the same one serves.
		for _, id := range slices.Sorted(maps.Keys(m.routes)) {
			made := &target{route: m.routes[id].route}
			m.routes[id] = made
			if m.now != nil {
				m.now.add(made, prepare)
			}
		}
	}
	hosts = renamed(hosts, before)
	t.hosts.Store(&hosts)
}

// renamed is the map of hosts with the groups that changed. A domain may go from one of them
// to another, so all are taken out first.
func renamed(hosts trie[*group], before map[*members]*group) trie[*group] {
	for m, old := range before {
		if old == nil {
			continue
		}
		for _, d := range old.of.Domains {
			if m.now == nil || !slices.Contains(m.now.of.Domains, d) {
				hosts = hosts.without(strings.ToLower(d))
			}
		}
	}
	for m := range before {
		if m.now == nil {
			continue
		}
		for _, d := range m.now.of.Domains {
			hosts = hosts.with(strings.ToLower(d), m.now)
		}
	}
	return hosts
}

// add puts a route into the tree of its stage, if it is live.
func (g *group) add(t *target, prepare Preparer) {
	i, ok := stageOf([]byte(t.route.Stage))
	if !ok || !t.route.Live {
		return // the control plane lets no route of another stage through
	}
	t.prepared, t.chain = prepare(g.of, t.route)
	t.names, t.placed = names(t.route.Path), true
	g.stages[i] = g.stages[i].with(t, strings.TrimPrefix(t.route.Path, "/"))
}

func (g *group) remove(t *target) {
	if i, ok := stageOf([]byte(t.route.Stage)); ok && t.placed {
		g.stages[i] = g.stages[i].without(t, strings.TrimPrefix(t.route.Path, "/"))
	}
}

// The kinds of segments of a route's path.
type kind uint8

const (
	static kind = iota
	param       // [name]
	rest        // [*], at the end
)

func kindOf(segment string, more bool) kind {
	switch {
	case segment == "[*]" && !more:
		return rest
	case len(segment) > 2 && segment[0] == '[' && segment[len(segment)-1] == ']':
		return param
	}
	return static
}

// names are those of a path's parameters.
func names(path string) (list []string) {
	path = strings.TrimPrefix(path, "/")
	for more := true; more; {
		var segment string
		segment, path, more = strings.Cut(path, "/")
		if kindOf(segment, more) != static {
			list = append(list, segment[1:len(segment)-1])
		}
	}
	return list
}

// with is the tree with a route more; nil is the empty tree.
func (n *node) with(t *target, path string) *node {
	made := new(node)
	if n != nil {
		*made = *n
	}
	segment, left, more := strings.Cut(path, "/")
	switch kindOf(segment, more) {
	case rest:
		made.rest = put(made.rest, t)
	case param:
		made.param = made.param.down(t, left, more)
	default:
		key := signer.AppendDecoded(nil, []byte(segment), false)
		next, _ := made.static.get(key)
		made.static = made.static.with(string(key), next.down(t, left, more))
	}
	return made
}

// down is the tree below a segment with a route more.
func (n *node) down(t *target, left string, more bool) *node {
	if more {
		return n.with(t, left)
	}
	made := new(node)
	if n != nil {
		*made = *n
	}
	made.leaf = put(made.leaf, t)
	return made
}

// without is the tree without a route; nil if there is none left.
func (n *node) without(t *target, path string) *node {
	if n == nil {
		return nil
	}
	made := *n
	segment, left, more := strings.Cut(path, "/")
	switch kindOf(segment, more) {
	case rest:
		made.rest = take(made.rest, t)
	case param:
		made.param = made.param.up(t, left, more)
	default:
		key := signer.AppendDecoded(nil, []byte(segment), false)
		if next, ok := made.static.get(key); ok {
			if next = next.up(t, left, more); next == nil {
				made.static = made.static.without(string(key))
			} else {
				made.static = made.static.with(string(key), next)
			}
		}
	}
	return made.kept()
}

func (n *node) up(t *target, left string, more bool) *node {
	if more || n == nil {
		return n.without(t, left)
	}
	made := *n
	made.leaf = take(made.leaf, t)
	return made.kept()
}

// kept is the node, unless there is nothing in it.
func (n *node) kept() *node {
	if n.static.empty() && n.param == nil && len(n.leaf) == 0 && len(n.rest) == 0 {
		return nil
	}
	return n
}

// take is a list without a route.
func take(list []*target, t *target) []*target {
	return slices.DeleteFunc(slices.Clone(list), func(have *target) bool { return have == t })
}

// put keeps routes of a named method before those of any.
func put(list []*target, t *target) []*target {
	made := make([]*target, 0, len(list)+1)
	if t.route.Method == anyMethod {
		return append(append(made, list...), t)
	}
	return append(append(made, t), list...)
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
	hosts := t.hosts.Load()
	if hosts == nil {
		return nil, nil, gate.Busy
	}
	g, ok := hosts.get(host)
	if !ok {
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
	if n == nil {
		return nil
	}
	segment, left, more := path, []byte(nil), false
	if i := bytes.IndexByte(path, '/'); i >= 0 {
		segment, left, more = path[:i], path[i+1:], true
	}
	if next := n.step(segment); next != nil {
		if t := w.end(next, left, more); t != nil {
			return t
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
	if n.static.empty() {
		return nil
	}
	if bytes.IndexByte(segment, '%') >= 0 {
		var room [128]byte
		segment = signer.AppendDecoded(room[:0], segment, false)
	}
	next, _ := n.static.get(segment)
	return next
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

// checkPath refuses what we and the seller's server could read as two different paths:
// dot segments, escaped or not, and an escaped NUL.
func checkPath(path []byte) error {
	if bytes.IndexByte(path, '.') < 0 && bytes.IndexByte(path, '%') < 0 {
		return nil
	}
	var room [256]byte
	decoded := signer.AppendDecoded(room[:0], path, false)
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
