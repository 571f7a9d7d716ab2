package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/souk-market/souk/console/market"
)

// Ctx is one request, as a handler sees it. It is a context.Context that ends with the
// request, so it can be passed on to whatever takes one.
type Ctx struct {
	context.Context
	fiber *fiber.Ctx
	s     *Server
	route *Route
	actor *market.Actor
	token string // the session's, empty for a visitor
	lang  string
	theme string
	key   string // what the form token is bound to: the session or the visitor's cookie
	over  bool   // a session was given, and it is over
}

// Handler answers one route.
type Handler func(*Ctx) (View, error)

// View is what a handler answers with. Data is the JSON answer and the page's .Data; it
// is a struct made for the page, never a row.
type View struct {
	Page   string // template: "order/show". Not needed where To is set
	Title  string // of the page, in the reader's language
	Data   any
	To     string // after a change: where a browser goes (303)
	Say    string // after a change: word that the next page shows
	Status int    // of a JSON answer; 0: 200
	Layout string // "store", "console" or "bare"; empty: by the route's side
	Crumbs []Crumb
	// Menu names the menu entry that this page belongs to, by its address; empty: the
	// longest entry that the path begins with.
	Menu string
	// Raw answers with these bytes instead of a page or JSON.
	Raw *Raw
	// Session, if not nil, starts a session (or ends it, if empty) in the browser.
	Session *string
}

// Crumb is one step of the way to a page; the last has no address.
type Crumb struct{ Word, Href string }

// Raw is a file that is downloaded or shown as it is.
type Raw struct {
	Type string // media type
	Name string // file name offered to a browser; empty: shown inline
	Body []byte
}

// Actor is who asks; nil for a visitor.
func (c *Ctx) Actor() *market.Actor { return c.actor }

// Lang is the reader's language, "zh" or "en".
func (c *Ctx) Lang() string { return c.lang }

// T is a word in the reader's language; args are name, value pairs.
func (c *Ctx) T(key string, args ...any) string { return c.s.Pages.T(c.lang, key, args...) }

// In is a text in the reader's language.
func (c *Ctx) In(t market.Text) string { return t.In(c.lang) }

// Now is the server's clock.
func (c *Ctx) Now() time.Time { return c.s.Now() }

// Zone is the market's.
func (c *Ctx) Zone() *time.Location { return c.s.Zone }

// API reports whether the answer will be JSON.
func (c *Ctx) API() bool { return c.route.API }

// Param is a part of the path: "/orders/:id".
func (c *Ctx) Param(name string) string { return c.fiber.Params(name) }

// Query is a parameter of the address.
func (c *Ctx) Query(name string) string { return c.fiber.Query(name) }

// SessionToken is the token of the session that asks; empty for a visitor or an access token.
func (c *Ctx) SessionToken() string { return c.token }

// Address is the peer's.
func (c *Ctx) Address() string { return c.fiber.IP() }

// Public is the address of this console as people type it, without a slash at the end.
func (c *Ctx) Public() string {
	if c.s.Public != "" {
		return strings.TrimSuffix(c.s.Public, "/")
	}
	return "http://" + c.fiber.Hostname()
}

// File is an uploaded file of a form, nil if there is none.
func (c *Ctx) File(field string) (name string, body []byte, err error) {
	if !strings.HasPrefix(c.fiber.Get(fiber.HeaderContentType), fiber.MIMEMultipartForm) {
		return "", nil, nil
	}
	h, err := c.fiber.FormFile(field)
	if err != nil || h.Size == 0 {
		return "", nil, nil // none was chosen
	}
	f, err := h.Open()
	if err != nil {
		return "", nil, fmt.Errorf("open the upload: %w", err)
	}
	defer f.Close()
	body, err = io.ReadAll(io.LimitReader(f, maxBody))
	return h.Filename, body, err
}

// Bind fills a struct from the path, and from the query of a GET or the body (JSON or
// form) of a POST. Fields are named by their json tags. A value that does not fit its
// field is Invalid and names it; all such faults come back together.
//
// Supported are strings, booleans, integers, market.Fen (written as yuan, "79.00", in
// forms and JSON alike), market.Text (form fields "name.zh", "name.en"), slices of
// strings, and, in JSON only, anything else that encoding/json reads.
func (c *Ctx) Bind(into any) error {
	v := reflect.ValueOf(into).Elem()
	var form market.Form
	isJSON := c.fiber.Method() != fiber.MethodGet && strings.HasPrefix(c.fiber.Get(fiber.HeaderContentType), fiber.MIMEApplicationJSON)
	if isJSON {
		if err := c.bindJSON(into, v, &form); err != nil {
			return err
		}
	}
	t := v.Type()
	for i := range t.NumField() {
		name := jsonName(t.Field(i))
		if name == "" {
			continue
		}
		if p := c.fiber.Params(name); p != "" {
			setField(v.Field(i), []string{p}, name, &form)
			continue
		}
		if isJSON {
			continue
		}
		if t.Field(i).Type == reflect.TypeFor[market.Text]() {
			v.Field(i).Set(reflect.ValueOf(market.Text{ZH: first(c.values(name + ".zh")), EN: first(c.values(name + ".en"))}))
			continue
		}
		if vals := c.values(name); len(vals) > 0 {
			setField(v.Field(i), vals, name, &form)
		}
	}
	return form.Err()
}

// bindJSON reads the body member by member, so that each fault names its field.
func (c *Ctx) bindJSON(into any, v reflect.Value, form *market.Form) error {
	body := c.fiber.Body()
	if len(body) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		var syntax *json.SyntaxError
		at := ""
		if errors.As(err, &syntax) {
			at = strconv.FormatInt(syntax.Offset, 10)
		}
		return &market.Error{Kind: market.Invalid, Code: "web.not_json", Args: map[string]string{"at": at}}
	}
	t := v.Type()
	for i := range t.NumField() {
		name := jsonName(t.Field(i))
		raw, ok := members[name]
		delete(members, name)
		if name == "" || !ok || string(raw) == "null" {
			continue
		}
		f := v.Field(i)
		if f.Type() == reflect.TypeFor[market.Fen]() {
			setField(f, []string{strings.Trim(string(raw), `"`)}, name, form)
			continue
		}
		if err := json.Unmarshal(raw, f.Addr().Interface()); err != nil {
			form.Fault(name, "field.type")
		}
	}
	for name := range members {
		form.Fault(name, "field.unknown") // a misspelt member must not be lost in silence
	}
	return nil
}

// values are those of a form or a query, in order.
func (c *Ctx) values(name string) []string {
	var out []string
	if c.fiber.Method() == fiber.MethodGet {
		for _, b := range c.fiber.Request().URI().QueryArgs().PeekMulti(name) {
			out = append(out, string(b))
		}
		return out
	}
	if strings.HasPrefix(c.fiber.Get(fiber.HeaderContentType), fiber.MIMEMultipartForm) {
		if f, err := c.fiber.MultipartForm(); err == nil {
			return f.Value[name]
		}
		return nil
	}
	for _, b := range c.fiber.Request().PostArgs().PeekMulti(name) {
		out = append(out, string(b))
	}
	return out
}

func first(vals []string) string {
	if len(vals) == 0 {
		return ""
	}
	return strings.TrimSpace(vals[0])
}

// jsonName is the field's name outside; empty for one that is not bound.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// setField writes the text of a form into a field, or notes why it does not fit.
func setField(f reflect.Value, vals []string, name string, form *market.Form) {
	s := strings.TrimSpace(vals[0])
	switch {
	case f.Type() == reflect.TypeFor[market.Fen]():
		if s == "" {
			return
		}
		fen, err := market.ParseYuan(s)
		if err != nil {
			form.Fault(name, "field.money")
			return
		}
		f.SetInt(int64(fen))
	case f.Kind() == reflect.String:
		f.SetString(s)
	case f.Kind() == reflect.Bool:
		f.SetBool(s == "on" || s == "true" || s == "1" || s == "yes")
	case f.CanInt():
		if s == "" {
			return
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || f.OverflowInt(n) {
			form.Fault(name, "field.number")
			return
		}
		f.SetInt(n)
	case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.String:
		for _, v := range vals {
			f.Set(reflect.Append(f, reflect.ValueOf(v).Convert(f.Type().Elem())))
		}
	default:
		form.Fault(name, "field.type")
	}
}
