package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"mime"
	"sort"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web/page"
	"github.com/souk-market/souk/gateway/storage"
)

// answer turns a view into HTTP.
func (c *Ctx) answer(v View) error {
	if v.Session != nil {
		if *v.Session == "" {
			c.clear(c.s.sessionCookie())
		} else {
			c.cookie(c.s.sessionCookie(), *v.Session, absolute)
		}
	}
	switch {
	case v.Raw != nil:
		return c.raw(v.Raw)
	case c.route.API:
		return c.json(v)
	case v.To != "":
		if v.Say != "" {
			c.cookie(cookieFlash, base64.RawURLEncoding.EncodeToString([]byte(v.Say)), 0)
		}
		return c.fiber.Redirect(v.To, fiber.StatusSeeOther)
	}
	return c.page(v, fiber.StatusOK, nil)
}

func (c *Ctx) raw(r *Raw) error {
	c.fiber.Set(fiber.HeaderContentType, r.Type)
	c.fiber.Set(fiber.HeaderCacheControl, "no-store")
	if r.Name != "" {
		c.fiber.Set(fiber.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": r.Name}))
	}
	return c.fiber.Send(r.Body)
}

func (c *Ctx) json(v View) error {
	c.fiber.Set(fiber.HeaderCacheControl, "no-store")
	status := v.Status
	if status == 0 {
		status = c.route.Doc.Status
	}
	if status == 0 {
		status = fiber.StatusOK
	}
	if v.Data == nil {
		return c.fiber.SendStatus(fiber.StatusNoContent)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v.Data); err != nil {
		return c.fail(View{}, err)
	}
	c.fiber.Set(fiber.HeaderContentType, "application/json; charset=utf-8")
	return c.fiber.Status(status).Send(b.Bytes())
}

// page renders a view in its layout.
func (c *Ctx) page(v View, status int, faults []page.Fault) error {
	f := c.frame(v)
	f.Faults = faults
	var b bytes.Buffer
	if err := c.s.Pages.Render(&b, v.Page, f); err != nil {
		if v.Page == errorPage {
			return err // the error page itself is broken: fiber's own answer
		}
		return c.fail(View{}, err)
	}
	c.fiber.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	c.fiber.Set(fiber.HeaderCacheControl, "no-store")
	c.fiber.Set(fiber.HeaderVary, "Cookie, Accept-Language")
	return c.fiber.Status(status).Send(b.Bytes())
}

// frame is what a layout shows around a page.
func (c *Ctx) frame(v View) *page.Frame {
	f := &page.Frame{
		Lang: c.lang, Theme: c.theme, Title: v.Title, Path: c.fiber.OriginalURL(), Layout: v.Layout,
		CSRF: c.csrf(), RequestID: c.requestID(), Now: c.Now(), Zone: c.s.Zone,
		Search: c.Query("q"), Sandbox: c.s.Sandbox, Data: v.Data,
	}
	if c.fiber.Method() != fiber.MethodGet {
		f.Path = Own(c.fiber.Get(fiber.HeaderReferer), "/") // a form that came back with faults
	}
	if f.Layout == "" {
		f.Layout = "store"
		if c.route.Signed {
			f.Layout = "console"
		}
	}
	for _, k := range v.Crumbs {
		f.Crumbs = append(f.Crumbs, page.Crumb{Word: k.Word, Href: k.Href})
	}
	if key := c.fiber.Cookies(cookieFlash); key != "" {
		c.clear(cookieFlash)
		if word, err := base64.RawURLEncoding.DecodeString(key); err == nil && c.s.Pages.Has(string(word)) {
			f.Flash = &page.Flash{Kind: "good", Text: c.T(string(word))}
		}
	}
	if a := c.actor; a != nil {
		f.Actor = &page.Actor{Name: a.Called, Initial: initial(a.Called), Email: a.Email, Account: a.Name}
		for _, r := range a.Roles {
			f.Actor.Roles = append(f.Actor.Roles, string(r))
		}
		side := c.side()
		f.Actor.Role = string(side)
		if f.Layout == "console" {
			f.Nav = c.nav(side, v.Menu)
			f.RoleSwitch = c.roleSwitch(side)
		}
	}
	return f
}

func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return "?"
}

// side is the side of the console that a page stands on; what is everybody's stands on
// the actor's own.
func (c *Ctx) side() market.Role {
	if c.route.Role != market.Anyone {
		return c.route.Role
	}
	for _, r := range []market.Role{market.Buyer, market.Seller, market.Operator} {
		if c.actor.Is(r) {
			return r
		}
	}
	return market.Buyer
}

func (c *Ctx) roleSwitch(side market.Role) []page.NavItem {
	icons := map[market.Role]string{market.Buyer: "user", market.Seller: "shop", market.Operator: "shield"}
	var out []page.NavItem
	for _, r := range []market.Role{market.Buyer, market.Seller, market.Operator} {
		if c.actor.Is(r) {
			out = append(out, page.NavItem{Icon: icons[r], Word: c.T("role." + string(r)), Href: c.s.firstOf(r), Current: r == side})
		}
	}
	return out
}

// firstOf is the first page of a side's menu.
func (s *Server) firstOf(r market.Role) string {
	best := MenuItem{Href: "/", Order: 1 << 30}
	for _, m := range s.menus {
		if m.role == r && m.Order < best.Order {
			best = m.MenuItem
		}
	}
	return best.Href
}

// FirstPage is where a person begins after signing in.
func (c *Ctx) FirstPage(a *market.Actor) string {
	for _, r := range []market.Role{market.Operator, market.Seller, market.Buyer} {
		if a.Is(r) {
			return c.s.firstOf(r)
		}
	}
	return "/"
}

func (c *Ctx) nav(side market.Role, current string) []page.NavGroup {
	var items []menuItem
	for _, m := range c.s.menus {
		if m.role == side {
			items = append(items, m)
		}
	}
	sort.SliceStable(items, func(i, j int) bool { return items[i].Order < items[j].Order })
	here := c.fiber.Path()
	if current == "" {
		for _, m := range items {
			if (here == m.Href || strings.HasPrefix(here, m.Href+"/")) && len(m.Href) > len(current) {
				current = m.Href
			}
		}
	}
	var groups []page.NavGroup
	at := map[string]int{}
	for _, m := range items {
		i, ok := at[m.Group]
		if !ok {
			i = len(groups)
			at[m.Group] = i
			g := page.NavGroup{}
			if m.Group != "" {
				g.Head = c.T(m.Group)
			}
			groups = append(groups, g)
		}
		it := page.NavItem{Icon: m.Icon, Word: c.T(m.Word), Href: m.Href, Current: m.Href == current}
		if m.Count != nil {
			it.Count = m.Count(c)
		}
		groups[i].Items = append(groups[i].Items, it)
	}
	return groups
}

func (c *Ctx) requestID() string {
	id, _ := c.fiber.Locals(keyRequest).(string)
	return id
}

const errorPage = "web/error"

// ErrorPage is the data of the page that says what went wrong.
type ErrorPage struct {
	Status int
	Code   string
	Text   string
	After  int
}

// Problem is an error as a program reads it: RFC 9457 with our stable code.
type Problem struct {
	Type      string         `json:"type" doc:"urn:souk:problem: and the code"`
	Title     string         `json:"title" doc:"What the status means"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail" doc:"What happened and what to do, in the language asked for"`
	Code      string         `json:"code" doc:"Stable"`
	RequestID string         `json:"request_id"`
	Fields    []ProblemField `json:"fields,omitempty" doc:"Faults of single members"`
}

// ProblemField is the fault of one member of the body or the query.
type ProblemField struct {
	Name   string `json:"name"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// statusOf is the one place where an error's kind becomes an HTTP status.
func statusOf(k market.ErrorKind) int {
	switch k {
	case market.Invalid:
		return fiber.StatusUnprocessableEntity
	case market.Denied:
		return fiber.StatusForbidden
	case market.Missing:
		return fiber.StatusNotFound
	case market.Conflict:
		return fiber.StatusConflict
	case market.SignedOut:
		return fiber.StatusUnauthorized
	case market.Slow:
		return fiber.StatusTooManyRequests
	case market.Down:
		return fiber.StatusServiceUnavailable
	}
	return fiber.StatusInternalServerError
}

// fail answers an error. A view beside it is the form that it came from, shown again.
func (c *Ctx) fail(v View, err error) error {
	var e *market.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, storage.ErrBusy):
		e = &market.Error{Kind: market.Down, Code: "web.busy", After: 5, Err: err}
	default:
		e = &market.Error{Kind: market.Internal, Code: "web.internal", Err: err}
	}
	status := statusOf(e.Kind)
	if e.Kind == market.Internal || e.Kind == market.Down {
		c.s.Log.Error("a request failed", zap.String("request", c.requestID()), zap.String("path", c.route.Path),
			zap.String("code", e.Code), zap.Error(err))
	}
	if e.After > 0 {
		c.fiber.Set(fiber.HeaderRetryAfter, strconv.Itoa(e.After))
	}
	text := c.errorText(e.Code, e.Args)
	if c.route.API {
		return c.problem(e, status, text)
	}
	if e.Kind == market.SignedOut && c.fiber.Method() == fiber.MethodGet {
		c.cookie(cookieFlash, base64.RawURLEncoding.EncodeToString([]byte("error."+e.Code)), 0)
		return c.fiber.Redirect("/sign-in?to="+escape(c.fiber.OriginalURL()), fiber.StatusSeeOther)
	}
	if v.Page != "" && (e.Kind == market.Invalid || e.Kind == market.Conflict || e.Kind == market.Slow || e.Kind == market.Denied) {
		var faults []page.Fault
		for _, f := range e.Fields {
			faults = append(faults, page.Fault{Field: f.Name, Text: c.errorText(f.Code, f.Args)})
		}
		if len(faults) == 0 {
			faults = append(faults, page.Fault{Text: text})
		}
		return c.page(v, status, faults)
	}
	for _, f := range e.Fields {
		text += " " + c.errorText(f.Code, f.Args)
	}
	layout := "store"
	if c.actor != nil && c.route.Signed && c.actor.Is(c.route.Role) {
		layout = "console"
	}
	return c.page(View{Page: errorPage, Title: c.T("web.status." + strconv.Itoa(status)), Layout: layout,
		Data: ErrorPage{Status: status, Code: e.Code, Text: text, After: e.After}}, status, nil)
}

func escape(address string) string {
	r := strings.NewReplacer("%", "%25", "&", "%26", "#", "%23", "+", "%2B", " ", "%20")
	return r.Replace(address)
}

// errorText is the word "error.<code>" with its arguments.
func (c *Ctx) errorText(code string, args map[string]string) string {
	var flat []any
	for k, v := range args {
		flat = append(flat, k, v)
	}
	return c.T("error."+code, flat...)
}

func (c *Ctx) problem(e *market.Error, status int, text string) error {
	p := Problem{
		Type: "urn:souk:problem:" + e.Code, Title: c.T("web.status." + strconv.Itoa(status)), Status: status,
		Detail: text, Code: e.Code, RequestID: c.requestID(),
	}
	for _, f := range e.Fields {
		p.Fields = append(p.Fields, ProblemField{Name: f.Name, Code: f.Code, Detail: c.errorText(f.Code, f.Args)})
	}
	if status == fiber.StatusUnauthorized {
		c.fiber.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="souk"`)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.fiber.Set(fiber.HeaderContentType, "application/problem+json; charset=utf-8")
	c.fiber.Set(fiber.HeaderCacheControl, "no-store")
	c.fiber.Set(fiber.HeaderContentLanguage, c.lang)
	return c.fiber.Status(status).Send(b)
}
