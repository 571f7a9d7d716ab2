package apis

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/souk-market/souk/console/market"
)

// filter is one of the gateway's filters on a group or an interface (插件).
type filter struct {
	ID        string          `json:"id"`
	Filter    string          `json:"filter"`
	With      json.RawMessage `json:"with"`
	Interface string          `json:"interface,omitempty"`
}

// standard is a filter that we have words for. There may be others: a gateway can be built
// with filters of its operator's, and the gateway alone knows which it has.
type standard struct{ id, sample string }

// standards are in the order in which they see a call. address and sign have pages of their
// own. The samples are those of the packages in gateway/filter.
var standards = []standard{
	{"cors", `{
  "origins": ["https://shop.example"],
  "methods": ["GET", "POST"],
  "headers": ["X-Trace"],
  "expose": ["X-Total"],
  "credentials": false,
  "max_age": "10m",
  "block": false
}`},
	{"size", `{
  "request": 65536,
  "query": 2048,
  "headers": 8192,
  "answer": 1048576
}`},
	{"jwt", `{
  "from": ["header:X-Token"],
  "keys": [
    {"id": "k1", "alg": "HS256", "secret": "sec_…"}
  ],
  "issuer": "https://id.example",
  "leeway": "30s",
  "claims": {"sub": "X-User"},
  "drop": true
}`},
	{"basic", `{
  "users": [
    {"name": "alice", "hash": "$2b$12$…"}
  ],
  "header": "X-User",
  "drop": true
}`},
	{"access", `{
  "rules": [
    {"name": "office hours", "allow": "time.getHours('Asia/Shanghai') >= 8"},
    {"name": "no tests", "deny": "has(query.test)"}
  ]
}`},
	{"schema", `{
  "operation": {
    "parameters": [
      {"name": "city", "in": "query", "required": true, "schema": {"type": "string"}}
    ],
    "responses": {"200": {"description": "ok"}}
  }
}`},
	{"cache", `{
  "shared": true,
  "ttl": "30s",
  "most": "1h",
  "max_body": 262144,
  "vary": ["X-Device"]
}`},
	{"breaker", `{
  "failures": 5,
  "open": "30s",
  "probes": 1,
  "statuses": [500, 502, 503]
}`},
	{"charge", `{
  "free": "status == 404"
}`},
	{"rewrite", `{
  "request": {
    "headers": {"set": {"X-App": "${app.id}"}, "remove": ["X-Debug"]}
  },
  "answer": {
    "when": ["2xx"],
    "headers": {"set": {"X-Served": "souk"}}
  }
}`},
	{"errors", `{
  "rules": [
    {
      "statuses": ["5xx"],
      "status": 502,
      "body": "{\"error\":\"${request.id}\"}",
      "type": "application/json"
    }
  ]
}`},
}

// sampleOf is what a setting may look like; an empty one for a filter that we do not know.
func sampleOf(id string) (text string, known bool) {
	for _, s := range standards {
		if s.id == id {
			return s.sample, true
		}
	}
	return "{}", false
}

const (
	filtersMax   = 40
	settingMax   = 256 << 10
	addressesMax = 2000
)

// filterName is how the gateway names filters.
var filterName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,39}$`)

// check notes what is wrong with a filter, as far as that can be known here.
func (f filter) check(w *whole, form *market.Form, known func(secret string) bool) {
	form.Check(filterName.MatchString(f.Filter), "filter", "apis.filter_name")
	form.Check(f.Filter != "address" && f.Filter != "sign", "filter", "apis.filter_page")
	form.Check(f.Interface == "" || w.iface(f.Interface) != nil, "interface", "apis.no_interface")
	if len(f.With) > settingMax {
		form.Fault("with", "apis.filter_long", "max", strconv.Itoa(settingMax))
		return
	}
	secrets, err := named(f.With)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(f.With[:min(int(syntax.Offset), len(f.With))], []byte("\n"))
		form.Fault("with", "apis.filter_json", "line", strconv.Itoa(line), "reason", syntax.Error())
	case err != nil:
		form.Fault("with", "apis.filter_json", "line", strconv.Itoa(1+bytes.Count(f.With, []byte("\n"))), "reason", err.Error())
	}
	if f.Filter == "charge" {
		// Buyers were told what costs a call; a seller may only ask for less.
		var with struct{ Charge json.RawMessage }
		form.Check(err != nil || json.Unmarshal(f.With, &with) != nil || with.Charge == nil, "with", "apis.filter_dearer")
	}
	for _, s := range secrets {
		form.Check(known(s), "with", "apis.filter_secret", "secret", s)
	}
}

// named lists the secrets that a setting names.
//
// Why every text is looked at, one by one: the gateway gives a filter any secret that it
// names. A seller who could name another's would have his backend believe forged calls.
func named(setting []byte) (secrets []string, err error) {
	d := json.NewDecoder(bytes.NewReader(setting))
	var first json.RawMessage
	if err := d.Decode(&first); err != nil {
		return nil, err
	}
	if len(first) == 0 || first[0] != '{' {
		return nil, errors.New("it does not begin with {")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after its end")
	}
	d = json.NewDecoder(bytes.NewReader(first))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return secrets, nil
		}
		if err != nil {
			return nil, err
		}
		if s, ok := t.(string); ok && strings.HasPrefix(s, secretMark) {
			secrets = append(secrets, s)
		}
	}
}

// secretMark begins the ID of each secret that the console makes.
const secretMark = "sec_"

// addresses reads a list of addresses and networks, one a line or parted by commas.
func addresses(text, field string, form *market.Form) (list []string) {
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == ',' || r == '，' || r == ';' }) {
		_, err := netip.ParsePrefix(s)
		if _, other := netip.ParseAddr(s); err != nil && other != nil {
			form.Fault(field, "apis.address", "address", s)
			return nil
		}
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	form.Check(len(list) <= addressesMax, field, "apis.too_many", "max", strconv.Itoa(addressesMax))
	return list
}
