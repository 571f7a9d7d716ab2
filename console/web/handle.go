package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/text/language"

	"github.com/souk-market/souk/console/market"
)

const (
	cookieForm  = "souk_form"  // a visitor's, that his forms are bound to
	cookieLang  = "souk_lang"  // zh or en
	cookieTheme = "souk_theme" // light or dark
	cookieFlash = "souk_flash" // what the next page says
	headerToken = "X-CSRF-Token"
	fieldToken  = "csrf"
	absolute    = 12 * time.Hour // a session's cookie lives no longer
	year        = 365 * 24 * time.Hour
)

// sessionCookie has the prefix that browsers protect where there is TLS.
func (s *Server) sessionCookie() string {
	if s.secure() {
		return "__Host-souk_session"
	}
	return "souk_session"
}

// handle runs one declared route: who is it, may they, is the form ours, then the handler.
func (s *Server) handle(f *fiber.Ctx, r *Route) error {
	c := s.context(f, r)
	if err := c.identify(); err != nil {
		return c.fail(View{}, err)
	}
	if err := c.admit(); err != nil {
		return c.fail(View{}, err)
	}
	v, err := r.handler(c)
	if err != nil {
		return c.fail(v, err)
	}
	return c.answer(v)
}

func (s *Server) context(f *fiber.Ctx, r *Route) *Ctx {
	c := &Ctx{Context: f.UserContext(), fiber: f, s: s, route: r}
	c.lang = f.Cookies(cookieLang)
	if q := f.Query("lang"); q == "zh" || q == "en" {
		c.lang = q
	}
	if c.lang != "zh" && c.lang != "en" {
		c.lang = speaks(f.Get(fiber.HeaderAcceptLanguage))
	}
	if t := f.Cookies(cookieTheme); t == "light" || t == "dark" {
		c.theme = t
	}
	return c
}

var languages = language.NewMatcher([]language.Tag{language.Chinese, language.English})

// speaks is the language that a browser asks for; Chinese if it does not say.
func speaks(accept string) string {
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil || len(tags) == 0 {
		return "zh"
	}
	_, i, _ := languages.Match(tags...)
	return [...]string{"zh", "en"}[i]
}

// identify finds who asks: an access token decides alone, then the session's cookie.
func (c *Ctx) identify() (err error) {
	if auth := c.fiber.Get(fiber.HeaderAuthorization); auth != "" && c.route.API {
		scheme, token, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return &market.Error{Kind: market.SignedOut, Code: "web.bearer_expected"}
		}
		c.actor, err = c.s.Accounts.Bearer(c, strings.TrimSpace(token))
		return err
	}
	c.token = c.fiber.Cookies(c.s.sessionCookie())
	if c.token != "" {
		c.actor, err = c.s.Accounts.Session(c, c.token)
		var e *market.Error
		if errors.As(err, &e) && e.Kind == market.SignedOut {
			c.token, c.over, err = "", true, nil
			c.clear(c.s.sessionCookie())
		}
		if err != nil {
			return err
		}
	}
	c.key = c.token
	if c.key == "" {
		c.key = c.fiber.Cookies(cookieForm)
	}
	return nil
}

// admit checks that the route is open to the actor, and that a change was meant.
func (c *Ctx) admit() error {
	r := c.route
	if r.Signed && c.actor == nil {
		if c.over {
			return &market.Error{Kind: market.SignedOut, Code: "session.over"}
		}
		return &market.Error{Kind: market.SignedOut, Code: "session.none"}
	}
	if !c.actor.Is(r.Role) {
		return &market.Error{Kind: market.Denied, Code: "web.wrong_role", Args: map[string]string{"role": c.T("role." + string(r.Role))}}
	}
	if c.fiber.Method() == fiber.MethodPost {
		return c.meant()
	}
	return nil
}

// meant checks the form's token. An access token needs none, since no browser sends one
// by itself. A program may take the session's cookie and put the token into a header.
func (c *Ctx) meant() error {
	if c.actor != nil && c.actor.Token {
		return nil
	}
	if site := c.fiber.Get("Sec-Fetch-Site"); site == "cross-site" {
		return &market.Error{Kind: market.Denied, Code: "form.foreign"}
	}
	given := c.fiber.Get(headerToken)
	if given == "" {
		given = first(c.values(fieldToken))
	}
	if c.route.API && given == "" && c.key == "" && c.fiber.Get(fiber.HeaderOrigin) == "" {
		return nil // a program without cookies: nothing of anybody's to forge
	}
	if c.key == "" || !hmac.Equal([]byte(given), []byte(c.s.formToken(c.key))) {
		if c.over {
			return &market.Error{Kind: market.SignedOut, Code: "session.over"}
		}
		return &market.Error{Kind: market.Denied, Code: "form.token"}
	}
	return nil
}

// formToken binds a form to the session or the visitor that it was made for.
func (s *Server) formToken(key string) string {
	m := hmac.New(sha256.New, s.Secret)
	m.Write([]byte("form\x00" + key))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// csrf is the token for the forms of this page; a visitor gets a cookie to bind it to.
func (c *Ctx) csrf() string {
	if c.key == "" {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			panic(err) // crypto/rand never fails on a supported system
		}
		c.key = base64.RawURLEncoding.EncodeToString(b[:])
		c.cookie(cookieForm, c.key, 0)
	}
	return c.s.formToken(c.key)
}

// cookie sets one for the whole console; life 0 is until the browser closes.
func (c *Ctx) cookie(name, value string, life time.Duration) {
	k := &fiber.Cookie{Name: name, Value: value, Path: "/", HTTPOnly: true, SameSite: "Lax", Secure: c.s.secure()}
	if life > 0 {
		k.MaxAge = int(life / time.Second)
	} else {
		k.SessionOnly = true
	}
	c.fiber.Cookie(k)
}

func (c *Ctx) clear(name string) {
	c.fiber.Cookie(&fiber.Cookie{Name: name, Path: "/", HTTPOnly: true, SameSite: "Lax", Secure: c.s.secure(), Expires: time.Unix(1, 0)})
}

// prefs keeps the reader's language and theme.
func (s *Server) prefs(f *fiber.Ctx) error {
	r := &Route{Method: fiber.MethodPost, Path: "/prefs"}
	r.handler = func(c *Ctx) (View, error) {
		if l := first(c.values("lang")); l == "zh" || l == "en" {
			c.cookie(cookieLang, l, year)
		}
		switch t := first(c.values("theme")); t {
		case "light", "dark":
			c.cookie(cookieTheme, t, year)
		case "system":
			c.clear(cookieTheme)
		}
		return View{To: Own(first(c.values("back")), "/")}, nil
	}
	return s.handle(f, r)
}

// Own is an address if it leads to a page of ours, else the other one.
func Own(address, other string) string {
	u, err := url.Parse(address)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(address, "/") ||
		strings.HasPrefix(address, "//") || strings.ContainsAny(address, "\\\r\n\t") {
		return other
	}
	return address
}
