// Package web is the console's way out to people and programs: one handler, two faces. A
// route is declared once, with the side of the market that may use it, and served twice:
// as a page under / and as JSON under /api/v1. Handlers return a View or an error; this
// package alone turns them into HTTP.
//
// It leaves to console/web/page how pages look, and to plug-ins what they say. Fiber is
// imported nowhere else.
package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net"
	"path"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/compress"
	"go.uber.org/zap"

	"github.com/souk-market/souk/console/market"
	"github.com/souk-market/souk/console/web/page"
)

const (
	maxBody      = 12 << 20         // an uploaded OpenAPI document of 10 MiB, and its form
	readTimeout  = 30 * time.Second // head and body of one request
	writeTimeout = 60 * time.Second
	idleTimeout  = 75 * time.Second
	apiPrefix    = "/api/v1"
)

// Config is what a Server is made of. Log, Pages and Accounts are needed.
type Config struct {
	Log      *zap.Logger
	Now      func() time.Time
	Zone     *time.Location // of the market: what "today" means on pages
	Pages    *page.Set
	Accounts market.Accounts
	// Secret is 32 bytes that form tokens are made with; the same after a restart.
	Secret []byte
	// Public is the address people use, "https://market.example.com"; it decides whether
	// cookies are Secure. Empty: plain HTTP on the listener's own address.
	Public string
	// Sandbox shows on every page that no money moves.
	Sandbox bool
}

// Server serves the console. Make it with New, add routes, then Serve.
type Server struct {
	Config
	app    *fiber.App
	routes []*Route
	menus  []menuItem
	api    []byte // the OpenAPI document, made when serving begins
}

// New makes a server without routes.
func New(c Config) *Server {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	s := &Server{Config: c}
	s.app = fiber.New(fiber.Config{
		Immutable:             true, // what a handler keeps stays what it was
		DisableStartupMessage: true,
		BodyLimit:             maxBody,
		ReadTimeout:           readTimeout,
		WriteTimeout:          writeTimeout,
		IdleTimeout:           idleTimeout,
		ReadBufferSize:        16 << 10,
		ErrorHandler:          s.lastError,
		UnescapePath:          false,
		CaseSensitive:         true,
	})
	s.app.Use(s.begin)
	s.app.Use(compress.New(compress.Config{Level: compress.LevelBestSpeed}))
	s.app.Get("/static/:name", s.static)
	s.app.Get("/favicon.ico", func(f *fiber.Ctx) error { return f.Redirect(page.Asset("favicon.svg"), fiber.StatusMovedPermanently) })
	s.app.Post("/prefs", s.prefs)
	s.own()
	return s
}

// Serve serves until the listener is closed or Shutdown is called. Finish comes before.
func (s *Server) Serve(l net.Listener) error {
	return s.app.Listener(l)
}

// Finish is called once all routes are declared: it makes the API description and the
// last route, which answers what no other does.
func (s *Server) Finish() (err error) {
	if s.api, err = s.describe(); err != nil {
		return fmt.Errorf("the description of the API: %w", err)
	}
	s.app.Get(apiPrefix+"/openapi.json", func(f *fiber.Ctx) error {
		f.Set(fiber.HeaderContentType, "application/openapi+json; charset=utf-8")
		return f.Send(s.api)
	})
	s.app.Use(func(f *fiber.Ctx) error {
		return s.handle(f, &Route{API: strings.HasPrefix(f.Path(), "/api/"), handler: func(*Ctx) (View, error) {
			return View{}, market.NotFound("web.no_such_page")
		}})
	})
	return nil
}

// Shutdown stops accepting and waits for answers under way, as long as ctx allows.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.app.ShutdownWithContext(ctx)
}

// secure reports whether people come by HTTPS.
func (s *Server) secure() bool { return strings.HasPrefix(s.Public, "https://") }

// The policy allows nothing inline and nothing from elsewhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

const keyRequest = "souk.request"

// begin gives every answer its request ID and the headers that protect it, and survives
// panics of handlers.
func (s *Server) begin(f *fiber.Ctx) (err error) {
	id := newRequestID()
	f.Locals(keyRequest, id)
	f.Set("X-Request-Id", id)
	f.Set("Content-Security-Policy", policy)
	f.Set("X-Content-Type-Options", "nosniff")
	f.Set("Referrer-Policy", "same-origin")
	f.Set("Cross-Origin-Opener-Policy", "same-origin")
	if s.secure() {
		f.Set("Strict-Transport-Security", "max-age=31536000")
	}
	defer func() {
		if r := recover(); r != nil {
			s.Log.Error("a handler panicked", zap.String("request", id), zap.Any("panic", r), zap.Stack("stack"))
			err = s.lastError(f, fmt.Errorf("panic: %v", r))
		}
	}()
	return f.Next()
}

func newRequestID() string {
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // crypto/rand never fails on a supported system
	}
	return hex.EncodeToString(b[:])
}

// static serves the files of package page, which change name when they change.
func (s *Server) static(f *fiber.Ctx) error {
	name := path.Base(f.Params("name"))
	b, err := fs.ReadFile(page.Static(), name)
	if err != nil {
		return s.lastError(f, market.NotFound("web.no_such_page"))
	}
	f.Set(fiber.HeaderContentType, mime.TypeByExtension(path.Ext(name)))
	if f.Query("v") != "" {
		f.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	return f.Send(b)
}

// lastError answers what went wrong outside of a declared route.
func (s *Server) lastError(f *fiber.Ctx, err error) error {
	var fe *fiber.Error
	if errors.As(err, &fe) {
		switch fe.Code {
		case fiber.StatusRequestEntityTooLarge:
			err = &market.Error{Kind: market.Invalid, Code: "web.too_large", Args: map[string]string{"limit": "12 MB"}}
		case fiber.StatusNotFound, fiber.StatusMethodNotAllowed:
			err = market.NotFound("web.no_such_page")
		case fiber.StatusBadRequest:
			err = &market.Error{Kind: market.Invalid, Code: "web.malformed"}
		}
	}
	c := s.context(f, &Route{API: strings.HasPrefix(f.Path(), "/api/")})
	return c.fail(View{}, err)
}
