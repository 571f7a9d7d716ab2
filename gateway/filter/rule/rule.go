// Package rule has the rules that sellers write in CEL, the Common Expression Language: what
// they can see of a call, and how much reckoning they may ask for.
//
// A rule knows
//
//	method, path, host, scheme, stage   text
//	query, headers, params              maps of text; names of headers are in lower case, and of
//	                                    several values of one name the first counts
//	app, user                           who calls: the app, and the account that owns it
//	address                             where the call comes from; within(address, "10.0.0.0/8")
//	time                                now: time.getHours("Asia/Shanghai") < 18
//	status, answer, cached              of the answer, its headers and whether it came from the
//	                                    cache: where there is one
//
// A name that is not in a map is an error; ask first ("x" in query), or write
// query[?"x"].orValue(""). Credentials that are kept back from the seller are not in headers.
//
// What a rule costs at most is reckoned when it is saved, from the largest request that
// there can be; one that costs too much is refused then, so that none has to be stopped
// while a caller waits.
package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/param"
	"github.com/souk-market/souk/signer"
)

// Bounds of a rule.
const (
	MaxText = 4 << 10 // bytes
	MaxCost = 50_000  // steps, most of them some nanoseconds long
)

// Scope says what there is to see.
type Scope uint8

// The scopes.
const (
	Request Scope = iota
	Answer
)

// Rule is a rule that says yes or no.
type Rule struct{ program cel.Program }

// environments are made when they are first needed, since making one takes milliseconds.
var environments = [2]func() (*cel.Env, error){
	sync.OnceValues(func() (*cel.Env, error) { return newEnv() }),
	sync.OnceValues(func() (*cel.Env, error) {
		return newEnv(cel.Variable("status", cel.IntType), cel.Variable("answer", texts), cel.Variable("cached", cel.BoolType))
	}),
}

var texts = cel.MapType(cel.StringType, cel.StringType)

func newEnv(more ...cel.EnvOption) (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.OptionalTypes(),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(32),
		cel.Variable("query", texts), cel.Variable("headers", texts), cel.Variable("params", texts),
		cel.Variable("time", cel.TimestampType),
		cel.Function("within", cel.Overload("within_string_string", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(within))),
	}
	for _, name := range []string{"method", "path", "host", "scheme", "stage", "app", "user", "address"} {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return cel.NewEnv(append(options, more...)...)
}

// within reports whether an address lies in a range.
func within(address, prefix ref.Val) ref.Val {
	a, err := netip.ParseAddr(string(address.(types.String)))
	if err != nil {
		return types.NewErr("%v is no address", address)
	}
	p, err := readPrefix(string(prefix.(types.String)))
	if err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(p.Contains(a.Unmap()))
}

func readPrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf(`%q is no range of addresses, as "10.0.0.0/8" is`, text)
	}
	return p, nil
}

// Compile reads a rule. The error says what is wrong with it, in words for a seller.
func Compile(text string, scope Scope) (*Rule, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("the rule is empty")
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("a rule has at most %d bytes", MaxText)
	}
	env, err := environments[scope]()
	if err != nil {
		return nil, err
	}
	made, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("the rule cannot be read: %w", err)
	}
	if made.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the rule says %s; it should say yes or no", made.OutputType())
	}
	if err := checkRanges(made.NativeRep()); err != nil {
		return nil, err
	}
	steps, err := env.EstimateCost(made, sizes{})
	if err != nil {
		return nil, fmt.Errorf("what the rule costs cannot be reckoned: %w", err)
	}
	if steps.Max > MaxCost {
		return nil, fmt.Errorf("the rule can take %d steps, more than the %d that there are for one; look at less text, or at fewer entries", steps.Max, MaxCost)
	}
	program, err := env.Program(made, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("the rule cannot be used: %w", err)
	}
	return &Rule{program}, nil
}

// checkRanges finds ranges that are none before a call does.
func checkRanges(made *ast.AST) error {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(made), ast.FunctionMatcher("within")) {
		args := call.AsCall().Args()
		if len(args) != 2 || args[1].Kind() != ast.LiteralKind {
			return errors.New(`within(address, "10.0.0.0/8") takes a range that is written out`)
		}
		text, _ := args[1].AsLiteral().Value().(string)
		if _, err := readPrefix(text); err != nil {
			return err
		}
	}
	return nil
}

// sizes are how large what a rule sees can be: the bounds of heads, protocol and
// security.md R1.
type sizes struct{}

const (
	largestName   = 256
	largestQuery  = 8 << 10
	largestHeader = 32 << 10
	mostParams    = 200
	mostHeaders   = 100
)

// EstimateSize is the largest size of what a path names.
func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	path := node.Path()
	if len(path) == 0 {
		return nil
	}
	entries, text := uint64(mostParams), uint64(largestQuery)
	switch path[0] {
	case "headers", "answer":
		entries, text = mostHeaders, largestHeader
	case "method", "scheme", "stage", "address", "app", "user", "host":
		text = largestName
	}
	most := text
	switch {
	case len(path) == 1 && (path[0] == "query" || path[0] == "headers" || path[0] == "params" || path[0] == "answer"):
		most = entries
	case path[len(path)-1] == "@keys":
		most = largestName
	}
	return &cost.SizeEstimate{Min: 0, Max: most}
}

// EstimateCallCost is the cost of our own functions.
func (sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	if function == "within" {
		return &cost.CallEstimate{CostEstimate: cost.FixedCostEstimate(10)}
	}
	return nil
}

// Holds reports whether the rule says yes of a call. It says neither if it asks for what is
// not there.
func (r *Rule) Holds(c *gate.Call) (bool, error) {
	v := views.Get().(*view)
	v.c = c
	out, _, err := r.program.Eval(v)
	*v = view{}
	views.Put(v)
	if err != nil {
		return false, err
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("rule: it says neither yes nor no")
	}
	return yes, nil
}

// view is a call as a rule sees it; what it does not look at is not made.
type view struct {
	c                              *gate.Call
	query, headers, params, answer map[string]string
}

var views = sync.Pool{New: func() any { return new(view) }}

// Parent is nothing.
func (*view) Parent() cel.Activation { return nil }

// ResolveName is one of the values.
func (v *view) ResolveName(name string) (any, bool) {
	c := v.c
	switch name {
	case "method":
		return string(c.Method), true
	case "path":
		return string(c.Path), true
	case "host":
		return string(c.Host), true
	case "scheme":
		if c.TLS {
			return "https", true
		}
		return "http", true
	case "stage":
		if c.Route.Stage == "" {
			return string(control.Release), true
		}
		return string(c.Route.Stage), true
	case "app":
		return string(c.App), true
	case "user":
		return c.Owner, true
	case "address":
		return c.From.Unmap().String(), true
	case "time":
		return c.At, true
	case "query":
		if v.query == nil {
			v.query = queryOf(c)
		}
		return v.query, true
	case "headers":
		if v.headers == nil {
			v.headers = headersOf(c.Fields, c.Passes)
		}
		return v.headers, true
	case "params":
		if v.params == nil {
			v.params = make(map[string]string, len(c.Params))
			for _, p := range c.Params {
				v.params[p.Name] = string(signer.AppendDecoded(nil, p.Value, false))
			}
		}
		return v.params, true
	case "status":
		return c.Answer.Status, true
	case "cached":
		return c.Cached, true
	case "answer":
		if v.answer == nil {
			v.answer = headersOf(c.Answer.Fields, nil)
		}
		return v.answer, true
	}
	return nil, false
}

func queryOf(c *gate.Call) map[string]string {
	m := map[string]string{}
	for rest := c.Query; len(rest) > 0 && len(m) < mostParams; {
		var p param.Pair
		p, rest = param.Next(rest)
		if name := string(signer.AppendDecoded(nil, p.Name, true)); name != "" {
			if _, ok := m[name]; !ok {
				m[name] = string(signer.AppendDecoded(nil, p.Value, true))
			}
		}
	}
	return m
}

func headersOf(fields gate.Fields, passes func(gate.Field) bool) map[string]string {
	m := make(map[string]string, len(fields))
	for _, f := range fields {
		name := strings.ToLower(string(f.Name))
		if _, ok := m[name]; !ok && len(m) < mostHeaders && (passes == nil || passes(f)) {
			m[name] = string(f.Value)
		}
	}
	return m
}
