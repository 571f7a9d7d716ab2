package command

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/souk-market/souk/examples/house"
	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/handover"
	"github.com/souk-market/souk/signer"
)

// asProgram makes the test's own program be souk.
const asProgram = "SOUK_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

// program is a running souk, and those that it has started.
type program struct {
	t    *testing.T
	log  *lines
	wait chan error
	cmd  *exec.Cmd
}

// lines is what programs have written.
type lines struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func launch(t *testing.T, log *lines, args ...string) *program {
	t.Helper()
	p := &program{t: t, log: log, wait: make(chan error, 1), cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, so that those that it starts can be ended with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.wait <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }) // what the test has left
	return p
}

// market fills a data folder: a route to a seller, an app that may call it.
func market(t *testing.T, folder, seller string) control.Credentials {
	t.Helper()
	h, err := house.Open(t.Context(), house.Options{Folder: folder, Gateway: "127.0.0.1:0", AllowPrivateUpstreams: true})
	if err != nil {
		t.Fatal(err)
	}
	p := h.Gateway().Plane()
	c, err := p.CreateApp(t.Context(), control.App{ID: "app_a", Owner: "acc_a", Name: "a", Live: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(t.Context(),
		&control.Group{ID: "grp_a", Name: "a", Domains: []string{"a.test"}, Live: true},
		&control.Route{ID: "rte_a", Group: "grp_a", Product: "prd_a", Method: "GET", Path: "/[*]", Upstream: seller, Live: true},
		&control.Grant{ID: "grt_a", App: "app_a", Product: "prd_a", Live: true},
		&control.Package{ID: "pkg_a", Grant: "grt_a", Calls: 10_000_000, From: time.Now().Add(-time.Hour), Live: true},
	); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// used is how many calls the ledger of a folder has charged.
func used(t *testing.T, folder string) int64 {
	t.Helper()
	h, err := house.Open(t.Context(), house.Options{Folder: folder, Gateway: "127.0.0.1:0", AllowPrivateUpstreams: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	list, err := h.Gateway().Plane().Balances(t.Context(), "grt_a")
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if list[0].Used+list[0].Remaining != list[0].Total {
		t.Errorf("%+v does not add up", list[0])
	}
	return list[0].Used
}

// caller calls as programs do that never try again.
type caller struct {
	addr, code string
	sign       *control.Credentials // nil: with the AppCode
	keep       bool
	conn       net.Conn
	in         *bufio.Reader
	last       string // what was sent last, without the end of its head
}

// replay sends the last call once more, as a stranger who has heard it would, and reports
// whether it was answered.
func (c *caller) replay() (answered bool, err error) {
	conn, err := net.DialTimeout("tcp", c.addr, 10*time.Second)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // as above
	if _, err := io.WriteString(conn, c.last+"Connection: close\r\n\r\n"); err != nil {
		return false, err
	}
	a, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false, err
	}
	_ = a.Body.Close() // the head says it
	if a.StatusCode != http.StatusOK && a.Header.Get("X-Ca-Error-Code") != "S403NU" {
		return false, fmt.Errorf("%s %s", a.Status, a.Header.Get("X-Ca-Error-Message"))
	}
	return a.StatusCode == http.StatusOK, nil
}

func (c *caller) call(path string) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, 10*time.Second)
		if err != nil {
			return err
		}
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	_ = c.conn.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs should say where
	more := ""
	if !c.keep {
		more = "Connection: close\r\n"
	}
	auth := "Authorization: APPCODE " + c.code + "\r\n"
	if c.sign != nil {
		s, err := signer.Sign(signer.Call{Method: "GET", URL: path, Key: c.sign.AppKey, Secret: c.sign.AppSecret, Now: time.Now(), Nonce: rand.Text()})
		if err != nil {
			return err
		}
		auth = ""
		for name, value := range s.Header {
			auth += name + ": " + value + "\r\n"
		}
	}
	c.last = "GET " + path + " HTTP/1.1\r\nHost: a.test\r\n" + auth
	if _, err := io.WriteString(c.conn, c.last+more+"\r\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	a, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	if a.StatusCode != http.StatusOK || string(body) != "ok" {
		return fmt.Errorf("%s %s %q", a.Status, a.Header.Get("X-Ca-Error-Message"), body)
	}
	if a.Close || !c.keep {
		_ = c.conn.Close() // as was agreed
		c.conn = nil
	}
	return nil
}

func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(name, err)
	}
	return n
}

// X18, G8: callers that never try again meet twenty upgrades (five here; make chaos has all)
// on new and on kept connections, and no call fails. A stream that began before goes on to
// its end, no signed call can be replayed to the other process (K8, K9), and the ledger has
// exactly what was answered.
func TestUpgradesUnderLoad(t *testing.T) {
	upgrades, calls := number(t, "SOUK_UPGRADES", 5), number(t, "SOUK_UPGRADE_CALLS", 10_000)
	more := make(chan struct{})
	seller := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush() // the head
			for range more {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush() // one byte
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	})}
	sl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = seller.Serve(sl) }() // ends with Close
	defer seller.Close()
	folder, err := os.MkdirTemp("", "souk")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	app := market(t, folder, "http://"+sl.Addr().String())
	code := app.AppCode
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	_ = free.Close() // it was only to find a port
	log := &lines{}
	p := launch(t, log, "gateway", "--data", folder, "--gateway", addr, "--ops", "", "--allow-private-upstreams", "--streams", "1m",
		"--access-log-file", filepath.Join(folder, "calls", "access.log"))
	defer func() {
		if t.Failed() {
			t.Logf("the programs said:\n%s", log)
		}
	}()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); {
			if time.Now().After(end) {
				t.Fatalf("%s: it does not come to that", what)
			}
			time.Sleep(2 * time.Millisecond) // another process is waited for
		}
	}
	until("the first start", func() bool { return (&caller{addr: addr, code: code}).call("/first") == nil })

	stream := &caller{addr: addr, code: code}
	streamed := make(chan error, 1)
	if stream.conn, err = net.Dial("tcp", addr); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stream.conn, "GET /stream HTTP/1.1\r\nHost: a.test\r\nAuthorization: APPCODE "+code+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	begun, err := http.ReadResponse(bufio.NewReader(stream.conn), nil)
	if err != nil || begun.StatusCode != 200 {
		t.Fatal(begun, err)
	}
	go func() {
		b, err := io.ReadAll(begun.Body)
		if err == nil && len(b) != upgrades+1 {
			err = fmt.Errorf("%d bytes, want %d", len(b), upgrades+1)
		}
		streamed <- err
	}()

	var good, bad, replayed atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			c := &caller{addr: addr, code: code, keep: i%2 == 0}
			if i >= 4 {
				c.sign = &app
			}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.call(fmt.Sprintf("/%d/%d", i, n)); err != nil {
					bad.Add(1)
					t.Errorf("call %d of client %d, kept %v: %v", n, i, c.keep, err)
					return
				}
				good.Add(1)
				if c.sign == nil {
					continue
				}
				if answered, err := c.replay(); err != nil {
					bad.Add(1)
					t.Errorf("call %d of client %d, again: %v", n, i, err)
					return
				} else if answered {
					replayed.Add(1)
				}
			}
		})
	}
	socket := handover.Path(folder, "gateway")
	current := p.cmd.Process.Pid
	for i := range upgrades {
		more <- struct{}{} // the stream goes on
		share := int64((i + 1) * calls / (upgrades + 1))
		until("calls", func() bool { return good.Load() >= share || bad.Load() > 0 })
		was := inode(socket)
		if i%2 == 0 {
			if err := syscall.Kill(current, syscall.SIGUSR2); err != nil {
				t.Fatal(err)
			}
		} else { // or it is simply started once more
			launch(t, log, p.cmd.Args[1:]...)
		}
		until("the next process", func() bool { return inode(socket) != was })
		current = keeperOf(t, socket)
	}
	until("all calls", func() bool { return good.Load() >= int64(calls) || bad.Load() > 0 })
	close(stop)
	clients.Wait()
	more <- struct{}{}
	close(more)
	if err := <-streamed; err != nil {
		t.Errorf("the stream that began before: %v", err)
	}
	if err := syscall.Kill(current, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until("the end", func() bool {
		_, err := handover.Ask(context.Background(), socket)
		return errors.Is(err, handover.ErrNobody) && syscall.Kill(current, 0) != nil
	})
	if err := <-p.wait; err != nil {
		t.Errorf("the first process ended with %v", err)
	}
	if n := replayed.Load(); n > 0 {
		t.Errorf("%d calls were answered twice", n)
	}
	if got, want := used(t, folder), good.Load()+2; got != want && got != want+1 { // the first call was tried until it was answered
		t.Errorf("%d calls are charged, %d were answered", got, want)
	}
	// Two processes write one log while they overlap, and no line is lost.
	logged, err := os.ReadFile(filepath.Join(folder, "calls", "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(bytes.Count(logged, []byte(`"outcome":"charged"`))); n < good.Load()+2 || n > good.Load()+3 {
		t.Errorf("%d lines of charged calls, %d were answered", n, good.Load())
	}
	if n := strings.Count(log.String(), "has taken over"); n != upgrades {
		t.Errorf("%d processes were taken over from, want %d", n, upgrades)
	}
	t.Logf("%d calls, %d upgrades, %d failed", good.Load(), upgrades, bad.Load())
}

func inode(path string) uint64 {
	var s syscall.Stat_t
	if syscall.Stat(path, &s) != nil {
		return 0
	}
	return s.Ino
}

// What is set on the command line is what runs: a token for the inner side, a level that
// can be changed, a collector that hears of calls.
func TestTheInnerSideOfAProgram(t *testing.T) {
	var mu sync.Mutex // guards told
	var told bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&told, r.Body) // what does not come is missed below
	}))
	defer collector.Close()
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer seller.Close()
	folder := t.TempDir()
	code := market(t, folder, seller.URL).AppCode
	var addrs [2]string
	for i := range addrs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs[i] = l.Addr().String()
		_ = l.Close() // it was only to find a port
	}
	t.Setenv("SOUK_OPS_TOKEN", "t0ken")
	log := &lines{}
	p := launch(t, log, "gateway", "--data", folder, "--gateway", addrs[0], "--ops", addrs[1], "--allow-private-upstreams", "--otlp", collector.URL, "--otlp-ratio", "1", "--log", "warn")
	defer func() {
		if t.Failed() {
			t.Logf("the program said:\n%s", log)
		}
	}()
	for end := time.Now().Add(30 * time.Second); (&caller{addr: addrs[0], code: code}).call("/first") != nil; {
		if time.Now().After(end) {
			t.Fatal("it does not start")
		}
		time.Sleep(2 * time.Millisecond) // another process is waited for
	}
	ask := func(method, page, token, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+addrs[1]+page, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a.StatusCode, string(b)
	}
	if status, _ := ask("GET", "/metrics", "wrong", ""); status != 401 {
		t.Errorf("a wrong token: %d", status)
	}
	if _, text := ask("GET", "/metrics", "t0ken", ""); !strings.Contains(text, `outcome="charged",route="rte_a"} 1`) {
		t.Errorf("metrics: %s", text)
	}
	if _, text := ask("GET", "/routes?host=a.test", "t0ken", ""); !strings.Contains(text, "rte_a") {
		t.Errorf("routes: %s", text)
	}
	if status, text := ask("PUT", "/log/level", "t0ken", `{"level":"debug"}`); status != 200 || !strings.Contains(text, "debug") {
		t.Errorf("level: %d %s", status, text)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-p.wait; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{`"resourceSpans"`, `"name":"GET /[*]"`, `"resourceMetrics"`, `"souk.gateway.calls"`} {
		if !strings.Contains(told.String(), part) {
			t.Errorf("the collector was not told of %s: %s", part, told.String())
		}
	}
}
