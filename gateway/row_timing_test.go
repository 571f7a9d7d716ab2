package gateway

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/gate"
	"github.com/souk-market/souk/gateway/journal"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/quota"
	"github.com/souk-market/souk/gateway/storage/sqlite"
	"github.com/souk-market/souk/gateway/wire"
	"github.com/souk-market/souk/signer"
)

// shredder takes what the journal has to bring to the ledger, so that a measurement of the
// row is not one of the database behind it.
type shredder struct{}

func (shredder) BookSpool(context.Context, []ledger.Entry, ledger.Place) error { return nil }
func (shredder) Spooled(context.Context) (ledger.Place, error)                 { return ledger.Place{}, nil }
func (shredder) Trim(context.Context) error                                    { return nil }

// warm is a gateway with its real ledger, spool and quota, and a call that has been made
// before.
type warm struct {
	*Server
	credentials control.Credentials
}

func warmed(t testing.TB) *warm {
	t.Helper()
	folder := t.TempDir()
	db, err := sqlite.Open(filepath.Join(folder, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return noon }
	l, err := ledger.Open(t.Context(), ledger.Options{DB: db, MasterKey: make([]byte, 32), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), shredder{}, folder, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	q, err := quota.Open(t.Context(), quota.Options{Ledger: l, Journal: j, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w := &warm{Server: assemble(Options{Now: now}, accounts{l}, q, j)}
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		w.proxy.Close()
		for _, err := range []error{q.Close(ctx), j.Close(ctx), db.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	if w.credentials, err = l.CreateApp(t.Context(), control.App{ID: "app_a", Live: true}); err != nil {
		t.Fatal(err)
	}
	err = l.Apply(t.Context(), &control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 1 << 40, From: noon, Live: true})
	if err != nil {
		t.Fatal(err)
	}
	(&house{Server: w.Server}).everything("api.test", "http://127.0.0.1:1", func(r *control.Route) {
		r.Path, r.Throttle = "/v1/weather/[city]", control.Throttle{PerRoute: 1 << 40, PerApp: 1 << 40}
	})
	return w
}

// nobody is a caller who sends no body and hears no answer.
type nobody struct{}

func (nobody) Next() ([]byte, error)        { return nil, io.EOF }
func (nobody) Stop()                        {}
func (nobody) begin(*gate.Call, answerBody) {}
func (nobody) write([]byte) error           { return nil }
func (nobody) flush() error                 { return nil }
func (nobody) end() error                   { return nil }
func (nobody) abort()                       {}
func (nobody) hangUp()                      {}
func (nobody) watch(func()) (stop func())   { return func() {} }
func (nobody) trailers(gate.Fields)         {}

// pass takes a call through every gate but the proxy.
func (w *warm) pass(t *turn) error {
	if err := t.admit(); err != nil {
		return err
	}
	if err := t.spend(); err != nil {
		return err
	}
	t.c.Answer.Status = 200
	if err := t.settle(); err != nil {
		return err
	}
	t.finish()
	return nil
}

// request is a head that is read again for each call.
type request struct {
	raw  []byte
	head wire.Request
	turn *turn
	id   control.RequestID
}

func (w *warm) request(raw string) *request {
	return &request{raw: []byte(raw), turn: newTurn().(*turn), id: control.NewRequestID(noon)}
}

// again reads the head and makes of it a call that has not been anywhere.
func (w *warm) again(r *request) *turn {
	r.head.Reset()
	if n, err := r.head.Parse(r.raw, w.bounds); n != len(r.raw) || err != nil {
		panic(err)
	}
	r.turn.reset(w.Server)
	r.turn.to = nobody{}
	c := r.turn.c
	c.ID, c.At, c.Method, c.Host, c.Target = r.id, w.now(), r.head.Method, r.head.Host, r.head.Target
	c.Fields = append(c.Fields[:0], r.head.Fields...)
	return r.turn
}

// signed is the head of a signed call; without a nonce, so that it may come again.
func (w *warm) signed(t testing.TB, target string) string {
	t.Helper()
	s, err := signer.Sign(signer.Call{Method: "GET", URL: target, Header: map[string]string{"Accept": "application/json"},
		Key: w.credentials.AppKey, Secret: w.credentials.AppSecret, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	head.WriteString("GET " + target + " HTTP/1.1\r\nHost: api.test\r\nAccept: application/json\r\n")
	for name, value := range s.Header {
		if name != "Accept" {
			head.WriteString(name + ": " + value + "\r\n")
		}
	}
	return head.String() + "\r\n"
}

// ways are the calls that are measured, as the heads of their requests.
func (w *warm) ways(t testing.TB) map[string]string {
	const target = "/v1/weather/0571?day=1"
	return map[string]string{
		"AppCode in the header": "GET " + target + " HTTP/1.1\r\nHost: api.test\r\nAuthorization: APPCODE " + w.credentials.AppCode + "\r\n\r\n",
		"AppCode in the query":  "GET " + target + "&AppCode=" + w.credentials.AppCode + " HTTP/1.1\r\nHost: api.test\r\n\r\n",
		"signature":             w.signed(t, target),
	}
}

// The gates allocate nothing for a warm call: not to find its route, to know its app, to
// count it against the windows, to take a unit, nor to write that down.
func TestWarmCallAllocatesNothing(t *testing.T) {
	if raced {
		t.Log("the race detector allocates: only that it passes is looked at")
	}
	w := warmed(t)
	for name, raw := range w.ways(t) {
		r := w.request(raw)
		pass := func() {
			if err := w.pass(w.again(r)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for range 3000 { // the leases grow, and the journal's lists
			pass()
		}
		if n := testing.AllocsPerRun(2000, pass); n > 0 && !raced {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	w := warmed(b)
	for name, raw := range w.ways(b) {
		b.Run(name, func(b *testing.B) {
			r := w.request(raw)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.pass(w.again(r)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a stranger costs: turning him away is as cheap as letting a buyer in.
func BenchmarkRefusal(b *testing.B) {
	w := warmed(b)
	for name, raw := range map[string]string{
		"no credential":   "GET /v1/weather/0571 HTTP/1.1\r\nHost: api.test\r\n\r\n",
		"unknown AppCode": "GET /v1/weather/0571 HTTP/1.1\r\nHost: api.test\r\nAuthorization: APPCODE nobody\r\n\r\n",
		"unknown host":    "GET /v1/weather/0571 HTTP/1.1\r\nHost: nobody.test\r\n\r\n",
	} {
		b.Run(name, func(b *testing.B) {
			r := w.request(raw)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.pass(w.again(r)); err == nil {
					b.Fatal("let in")
				}
			}
		})
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		control.NewRequestID(noon)
	}
}
