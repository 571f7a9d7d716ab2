package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/souk-market/souk/gateway"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/ledger"
	"github.com/souk-market/souk/gateway/storage/sqlite"
)

// TestMain runs the test binary as a gateway that is there to be killed, when asked to.
func TestMain(m *testing.M) {
	if folder := os.Getenv("SOUK_KILL_FOLDER"); folder != "" {
		if err := serveUntilKilled(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func killable(ctx context.Context, folder string) (*gateway.Server, func() error, error) {
	db, err := sqlite.Open(filepath.Join(folder, "gateway.db"))
	if err != nil {
		return nil, nil, err
	}
	s, err := gateway.New(ctx, gateway.Options{DB: db, Folder: folder, MasterKey: make([]byte, 32), AllowPrivateUpstreams: true})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return s, func() error { return errors.Join(s.Close(ctx), db.Close()) }, nil
}

// serveUntilKilled says its address and serves; the end of its input ends it kindly.
func serveUntilKilled(folder string) error {
	ctx := context.Background()
	s, end, err := killable(ctx, folder)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, end())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	fmt.Println(l.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is closed
	return errors.Join(end(), <-served)
}

// victim is a gateway in a process of its own.
type victim struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startVictim(t *testing.T, folder string) *victim {
	t.Helper()
	v := &victim{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	v.cmd.Env = append(os.Environ(), "SOUK_KILL_FOLDER="+folder)
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the gateway does not come up: %v", err)
	}
	v.addr = strings.TrimSpace(line)
	return v
}

// The gateway is killed with SIGKILL under load, ten times. What callers were answered is
// charged, nothing twice, nothing beyond the package; in the end each unit was sold. M1,
// M2, M7, X16.
func TestKilledUnderLoad(t *testing.T) {
	const granted, workers, kills = 6000, 8, 10
	folder := t.TempDir()
	var asked, due atomic.Int64
	due.Store(granted * 10)
	reached := make(chan struct{}, 1)
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if n >= due.Load() {
			select {
			case reached <- struct{}{}:
			default: // it is known
			}
		}
		if n%11 == 0 {
			w.WriteHeader(http.StatusInternalServerError) // not charged
		}
	}))
	defer seller.Close()

	s, end, err := killable(t.Context(), folder)
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := s.Plane().CreateApp(t.Context(), control.App{ID: "app_a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Plane().Apply(t.Context(), &control.Group{ID: "grp_a", Domains: []string{"api.test"}, Live: true},
		&control.Route{ID: "rte_a", Group: "grp_a", Product: "prd_a", Method: "GET", Path: "/a", Upstream: seller.URL, Live: true},
		&control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: granted, From: time.Now().Add(-time.Hour), Live: true})
	if err := errors.Join(err, end()); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	replied := map[string]bool{} // by request ID
	// spend calls until the package is spent or the gateway is gone.
	spend := func(addr string) (spent bool) {
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		for {
			r, err := http.NewRequest(http.MethodGet, "http://"+addr+"/a", nil)
			if err != nil {
				t.Error(err)
				return true
			}
			r.Host = "api.test"
			r.Header.Set("Authorization", "APPCODE "+credentials.AppCode)
			a, err := client.Do(r)
			if err != nil {
				return false
			}
			_, err = io.Copy(io.Discard, a.Body)
			_ = a.Body.Close() // it was read
			switch code := a.Header.Get("X-Ca-Error-Code"); {
			case err != nil:
				return false
			case code == "B403MQ":
				return true
			case code != "":
				t.Errorf("refused with %d %s", a.StatusCode, code)
				return true
			case a.StatusCode == http.StatusOK:
				mu.Lock()
				if id := a.Header.Get("X-Ca-Request-Id"); replied[id] {
					t.Errorf("%s was answered twice", id)
				} else {
					replied[id] = true
				}
				mu.Unlock()
			}
		}
	}
	load := func(addr string) (wait func() bool) {
		var all sync.WaitGroup
		var spent atomic.Int64
		for range workers {
			all.Go(func() {
				if spend(addr) {
					spent.Add(1)
				}
			})
		}
		return func() bool { all.Wait(); return spent.Load() == workers }
	}
	for n := range kills {
		v := startVictim(t, folder)
		select {
		case <-reached: // by a call of the one before
		default:
		}
		// By the count of what it did, so that each kill falls under load on any machine.
		due.Store(asked.Load() + int64(100+37*n))
		wait := load(v.addr)
		<-reached
		if err := v.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wait()
		_ = v.cmd.Wait() // it was killed
	}
	v := startVictim(t, folder)
	if !load(v.addr)() {
		t.Fatal("the last gateway went away")
	}
	if err := errors.Join(v.in.Close(), v.cmd.Wait()); err != nil {
		t.Fatalf("the kind end: %v", err)
	}

	db, err := sqlite.Open(filepath.Join(folder, "gateway.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l, err := ledger.Open(t.Context(), ledger.Options{DB: db, MasterKey: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	if faults, err := l.Audit(t.Context()); err != nil || len(faults) > 0 {
		t.Errorf("the ledger does not agree with itself: %v %v", faults, err)
	}
	b, err := l.Balances(t.Context(), "grt_a")
	if err != nil || len(b) != 1 {
		t.Fatalf("%v %v", b, err)
	}
	charged := b[0].Used
	unanswered := charged - int64(len(replied))
	for id := range replied {
		request, err := control.ParseRequestID(id)
		if err != nil {
			t.Fatal(err)
		}
		calls, err := l.Calls(t.Context(), control.CallFilter{Request: request})
		if err != nil {
			t.Fatal(err)
		}
		if len(calls) == 1 && calls[0].Outcome == control.Charged {
			delete(replied, id)
		}
	}
	if len(replied) > 0 {
		t.Errorf("%d calls were answered and are not in the ledger", len(replied))
	}
	if charged != granted {
		t.Errorf("%d charged of %d", charged, granted)
	}
	if unanswered > kills*workers {
		t.Errorf("%d calls are charged that nobody was answered; at most one of each worker and kill can be", unanswered)
	}
	t.Logf("%d charged, %d of them without an answer, the seller was asked %d times, %d kills", charged, unanswered, asked.Load(), kills)
}
