// Package consoletest is a whole console for tests: the standard plug-ins on a database in
// a temporary folder, a gateway that only counts, a clock that the test moves, and people
// who use it as a browser or a program would.
package consoletest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/souk-market/souk/console"
	"github.com/souk-market/souk/console/market"
	_ "github.com/souk-market/souk/console/standard" // the plug-ins under test
	"github.com/souk-market/souk/gateway/control/controltest"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// Market is a running console.
type Market struct {
	*console.Console
	Gateway *controltest.Plane
	Address string // http://127.0.0.1:…

	t    *testing.T
	mu   sync.Mutex
	now  time.Time
	logs *observer.ObservedLogs
}

// New starts a console that ends with the test.
func New(t *testing.T) *Market {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	m := &Market{t: t, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC), logs: logs}
	m.Gateway = controltest.New(m.Now)
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "console.db"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.Address = "http://" + l.Addr().String()
	m.Console, err = console.New(t.Context(), console.Config{
		DB: db, Gateway: m.Gateway, Secret: bytes.Repeat([]byte{7}, 32), Log: zap.New(core), Now: m.Now,
		GatewayAddress: "http://127.0.0.1:8080", Suffix: "api.localhost",
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Start(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		for _, e := range m.logs.FilterLevelExact(zap.ErrorLevel).All() {
			t.Errorf("the console logged an error: %s %v", e.Message, e.ContextMap())
		}
	})
	return m
}

// Now is the market's clock.
func (m *Market) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Pass lets time go by.
func (m *Market) Pass(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

// ExpectErrors forgets what was logged as an error until now, in tests that cause some.
func (m *Market) ExpectErrors() int { return m.logs.FilterLevelExact(zap.ErrorLevel).Len() }

// Person uses the market: as a browser with cookies, or as a program with a token.
type Person struct {
	m     *Market
	Name  string
	Email string
	Token string // access token; used by API
	Lang  string // "zh" or "en"
	http  *http.Client
}

// Visitor is somebody who is not signed in.
func (m *Market) Visitor() *Person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &Person{m: m, Lang: "en", http: &http.Client{Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// Password is everybody's.
const Password = "a long enough password"

// Buyer signs up under a name and signs in, in the browser and with a token.
func (m *Market) Buyer(name string) *Person {
	m.t.Helper()
	p := m.Visitor()
	p.Name, p.Email = name, name+"@example.com"
	var in struct {
		Token string `json:"token"`
	}
	p.API("POST", "/sign-up", map[string]any{"account": name + " Ltd", "name": name, "email": p.Email, "password": Password}).Is(201).Read(&in)
	p.Token = in.Token
	p.SignIn()
	return p
}

// Operator is the first operator of the market.
func (m *Market) Operator() *Person {
	m.t.Helper()
	setUp, err := console.Need[market.SetUp](m.Host())
	if err != nil {
		m.t.Fatal(err)
	}
	token, err := setUp.FirstOperator(m.t.Context())
	if err != nil || token == "" {
		m.t.Fatalf("no set-up token: %v", err)
	}
	p := m.Visitor()
	p.Name, p.Email = "operator", "operator@example.com"
	var in struct {
		Token string `json:"token"`
	}
	p.API("POST", "/setup", map[string]any{"token": token, "account": "The market", "name": "Ops", "email": p.Email, "password": Password}).Is(201).Read(&in)
	p.Token = in.Token
	p.SignIn()
	return p
}

// Seller is a buyer whom the operator made a seller too.
func (m *Market) Seller(operator *Person, name string) *Person {
	m.t.Helper()
	p := m.Buyer(name)
	var me struct {
		Account string `json:"account"`
	}
	p.API("GET", "/account", nil).Is(200).Read(&me)
	operator.API("POST", "/operator/accounts/"+me.Account+"/roles", map[string]any{"roles": []string{"buyer", "seller"}}).Is(200)
	return p
}

// SignIn signs the browser in.
func (p *Person) SignIn() {
	p.m.t.Helper()
	p.Get("/sign-in").Is(200)
	p.Post("/sign-in", "email", p.Email, "password", Password).Is(303)
}

// Answer is what came back.
type Answer struct {
	t      *testing.T
	what   string
	Status int
	Header http.Header
	Body   string
}

func (p *Person) do(req *http.Request) *Answer {
	p.m.t.Helper()
	lang := p.Lang
	req.Header.Set("Accept-Language", lang)
	res, err := p.http.Do(req)
	if err != nil {
		p.m.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.m.t.Fatal(err)
	}
	return &Answer{t: p.m.t, what: req.Method + " " + req.URL.RequestURI(), Status: res.StatusCode, Header: res.Header, Body: string(b)}
}

// API calls the JSON API with the person's token. body is marshalled; nil sends none.
func (p *Person) API(method, path string, body any) *Answer {
	p.m.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			p.m.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(p.m.t.Context(), method, p.m.Address+"/api/v1"+path, r)
	if err != nil {
		p.m.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if p.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.Token)
	}
	// A program keeps no cookies.
	browser := p.http
	p.http = &http.Client{Timeout: 30 * time.Second}
	defer func() { p.http = browser }()
	return p.do(req)
}

// Get opens a page.
func (p *Person) Get(path string) *Answer {
	p.m.t.Helper()
	req, err := http.NewRequestWithContext(p.m.t.Context(), "GET", p.m.Address+path, nil)
	if err != nil {
		p.m.t.Fatal(err)
	}
	return p.do(req)
}

var tokenField = regexp.MustCompile(`name="csrf" content="([^"]+)"`)

// Post sends a form, with the token that any page gives: name, value pairs.
func (p *Person) Post(path string, pairs ...string) *Answer {
	p.m.t.Helper()
	page := p.Get("/account")
	if page.Status != 200 {
		page = p.Get("/sign-in")
	}
	m := tokenField.FindStringSubmatch(page.Body)
	if m == nil {
		p.m.t.Fatalf("no form token in %s", page.Body)
	}
	return p.PostWith(m[1], path, pairs...)
}

// PostWith sends a form with a token of the test's choice.
func (p *Person) PostWith(token, path string, pairs ...string) *Answer {
	p.m.t.Helper()
	form := url.Values{}
	if token != "" {
		form.Set("csrf", token)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	req, err := http.NewRequestWithContext(p.m.t.Context(), "POST", p.m.Address+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(req)
}

// Is fails the test unless the status is as given.
func (a *Answer) Is(status int) *Answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("%s: status %d, want %d\n%.2000s", a.what, a.Status, status, a.Body)
	}
	return a
}

// Code fails the test unless the answer is a problem with this stable code.
func (a *Answer) Code(code string) *Answer {
	a.t.Helper()
	var p struct {
		Code   string
		Detail string
		Fields []struct{ Code, Detail string }
	}
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		a.t.Fatalf("%s: no problem document: %v\n%.500s", a.what, err, a.Body)
	}
	if strings.HasPrefix(p.Detail, "error.") {
		a.t.Errorf("%s: nobody says %q", a.what, p.Detail)
	}
	for _, f := range p.Fields {
		if strings.HasPrefix(f.Detail, "error.") {
			a.t.Errorf("%s: nobody says %q", a.what, f.Detail)
		}
		if f.Code == code {
			return a
		}
	}
	if p.Code != code {
		a.t.Fatalf("%s: code %q, want %q\n%.1000s", a.what, p.Code, code, a.Body)
	}
	return a
}

// Sees fails the test unless the answer has all the texts.
func (a *Answer) Sees(texts ...string) *Answer {
	a.t.Helper()
	for _, s := range texts {
		if !strings.Contains(a.Body, s) {
			a.t.Fatalf("%s: does not show %q\n%.3000s", a.what, s, a.Body)
		}
	}
	return a
}

// SeesNot fails the test if the answer has one of the texts.
func (a *Answer) SeesNot(texts ...string) *Answer {
	a.t.Helper()
	for _, s := range texts {
		if strings.Contains(a.Body, s) {
			a.t.Fatalf("%s: shows %q", a.what, s)
		}
	}
	return a
}

// Read reads the JSON answer.
func (a *Answer) Read(into any) *Answer {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.Body), into); err != nil {
		a.t.Fatalf("%s: %v\n%.1000s", a.what, err, a.Body)
	}
	return a
}

// Until repeats f until it is true, at most ten seconds: for what happens after a request.
func (m *Market) Until(what string, f func() bool) {
	m.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline:
			m.t.Fatalf("never came true: %s", what)
		case <-tick.C:
		}
	}
}

// Document is a small OpenAPI document with two interfaces.
const Document = `{"openapi":"3.0.3","info":{"title":"Tide tables","version":"1"},"paths":{
"/tide/now":{"get":{"operationId":"now","summary":"Tide now","parameters":[{"name":"port","in":"query","required":true,"schema":{"type":"string"},"example":"ningbo"}],"responses":{"200":{"description":"ok","content":{"application/json":{"schema":{"type":"object","properties":{"level":{"type":"number"}}},"example":{"level":2.1}}}}}}},
"/admin/reset":{"post":{"summary":"Reset","responses":{"200":{"description":"ok"}}}}}}`

// Listed is a product on the shelf.
type Listed struct {
	ID    string
	Group string
	Plans []string
}

// Product has a seller import Document, price it, and an operator list it. prices are in
// yuan, for calls as given: calls, price pairs.
func (m *Market) Product(seller, operator *Person, name string, plans ...any) Listed {
	m.t.Helper()
	var group struct {
		ID string `json:"id"`
	}
	seller.API("POST", "/seller/apis/import", map[string]any{"document": Document, "name": "tide.json"}).Is(201).Read(&group)
	seller.API("POST", "/seller/apis/"+group.ID+"/upstream", map[string]any{"upstream": "https://93.184.216.34"}).Is(200)
	var list []map[string]any
	for i := 0; i+1 < len(plans); i += 2 {
		list = append(list, map[string]any{"calls": plans[i], "price": fmt.Sprint(plans[i+1]), "months": 12})
	}
	var product struct {
		ID    string `json:"id"`
		Sheet struct {
			Plans []struct {
				ID string `json:"id"`
			} `json:"plans"`
		} `json:"sheet"`
	}
	seller.API("POST", "/seller/products", map[string]any{"source": group.ID, "category": "weather",
		"name": map[string]string{"zh": name, "en": name}, "summary": map[string]string{"zh": "潮汐", "en": "Tides of " + name}, "plans": list}).Is(201).Read(&product)
	seller.API("POST", "/seller/products/"+product.ID+"/submit", nil).Is(200)
	operator.API("POST", "/operator/reviews/"+product.ID+"/approve", nil).Is(200)
	l := Listed{ID: product.ID, Group: group.ID}
	for _, p := range product.Sheet.Plans {
		l.Plans = append(l.Plans, p.ID)
	}
	return l
}

// Buy orders a plan and pays for it in the sandbox; it returns the order.
func (p *Person) Buy(plan string, count int) string {
	p.m.t.Helper()
	var order struct {
		ID string `json:"id"`
	}
	p.API("POST", "/orders", map[string]any{"plan": plan, "count": count}).Is(201).Read(&order)
	p.Pay(order.ID)
	return order.ID
}

// Pay pays an order in the sandbox.
func (p *Person) Pay(order string) {
	p.m.t.Helper()
	var pay struct {
		ID string `json:"id"`
	}
	p.API("POST", "/orders/"+order+"/pay", map[string]any{"payer": "sandbox"}).Is(201).Read(&pay)
	p.API("POST", "/pay/sandbox/"+pay.ID, map[string]any{"result": "paid"}).Is(200)
}
