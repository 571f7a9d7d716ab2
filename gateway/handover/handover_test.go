//go:build unix

package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ho") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return Path(dir, "all")
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func keep(t *testing.T, path string, listeners map[string]net.Listener) *Keeper {
	t.Helper()
	k, err := Keep(path, listeners, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func ask(t *testing.T, path string) *Taken {
	t.Helper()
	taken, err := Ask(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	return taken
}

func isTaken(k *Keeper) bool {
	select {
	case <-k.Taken():
		return true
	default:
		return false
	}
}

// name answers with a letter on each connection.
func name(l net.Listener, letter string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, letter) // who asked has gone
		_ = c.Close()
	}
}

func who(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestListenersAreHandedOver(t *testing.T) {
	path := socket(t)
	if _, err := Ask(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Fatalf("before anybody is there: %v", err)
	}
	a, b := listen(t), listen(t)
	k := keep(t, path, map[string]net.Listener{"gateway": a, "console": b, "none": nil})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	taken := ask(t, path)
	if l := taken.Listener("gateway", "127.0.0.1:1"); l != nil {
		t.Error("a listener on another address was given")
	}
	next := taken.Listener("gateway", a.Addr().String())
	if next == nil || taken.Listener("gateway", a.Addr().String()) != nil || taken.Listener("ops", "127.0.0.1:0") != nil {
		t.Fatal("a listener is given once, and by its name")
	}
	defer next.Close()
	if taken.Listener("console", "127.0.0.1:0") == nil {
		t.Error("port 0 is any port")
	}
	if isTaken(k) {
		t.Error("taken before it was ready")
	}
	if err := taken.Ready(); err != nil {
		t.Fatal(err)
	}
	<-k.Taken()
	go name(a, "a")
	if got := who(t, a.Addr().String()); got != "a" {
		t.Errorf("while both accept: %q", got)
	}
	_ = a.Close() // the old one goes
	go name(next, "b")
	if got := who(t, a.Addr().String()); got != "b" {
		t.Errorf("after the old one went: %q", got)
	}
}

// A process that is never ready has changed nothing, and the next one may ask.
func TestWhoIsNeverReadyChangesNothing(t *testing.T) {
	path := socket(t)
	l := listen(t)
	k := keep(t, path, map[string]net.Listener{"gateway": l})
	first := ask(t, path)
	if _, err := Ask(t.Context(), path); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("a second one at once: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var second *Taken
	for end := time.Now().Add(20 * time.Second); second == nil && time.Now().Before(end); {
		second, _ = Ask(t.Context(), path) // until the first one's going was noticed
	}
	if second == nil || isTaken(k) {
		t.Fatal("the next one cannot ask")
	}
	if err := second.Ready(); err != nil {
		t.Error(err)
	}
	<-k.Taken()
	if _, err := Ask(t.Context(), path); err == nil || !strings.Contains(err.Error(), "has taken over") {
		t.Errorf("one who comes too late: %v", err)
	}
}

// The new one keeps the socket; the old one takes its hands off without taking it along.
func TestTheSocketGoesOn(t *testing.T) {
	path := socket(t)
	l := listen(t)
	k := keep(t, path, map[string]net.Listener{"gateway": l})
	taken := ask(t, path)
	mine := taken.Listener("gateway", "127.0.0.1:0")
	defer mine.Close()
	if err := taken.Ready(); err != nil {
		t.Fatal(err)
	}
	<-k.Taken()
	next := keep(t, path, map[string]net.Listener{"gateway": mine})
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	if err := ask(t, path).Ready(); err != nil {
		t.Errorf("the third one: %v", err)
	}
	<-next.Taken()
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// What else there is to tell goes over a connection of its own, which outlives the handover.
func TestStateGoesOver(t *testing.T) {
	path := socket(t)
	heard := make(chan string, 1)
	k, err := Keep(path, map[string]net.Listener{"gateway": listen(t)}, func(c net.Conn) {
		_, _ = io.WriteString(c, "what I know\n")
		line, _ := bufio.NewReader(c).ReadString('\n')
		heard <- line
		_ = c.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	taken := ask(t, path)
	c, err := taken.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "what I know\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := taken.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	_, _ = io.WriteString(c, "and later\n")
	if line := <-heard; line != "and later\n" {
		t.Errorf("%q", line)
	}
}

func TestCloseOffersNothingMore(t *testing.T) {
	path := socket(t)
	k := keep(t, path, map[string]net.Listener{"gateway": listen(t)})
	taken := ask(t, path)
	done := make(chan error, 1)
	go func() { done <- k.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close waits for one who makes himself ready")
	}
	if err := taken.Ready(); err == nil {
		t.Error("a process that is ending gave its listeners away")
	}
	if _, err := Ask(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Errorf("afterwards: %v", err)
	}
}

// A file that a process left behind does not stop the next one.
func TestASocketThatWasLeftBehind(t *testing.T) {
	path := socket(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // as if it were killed
	if _, err := Ask(t.Context(), path); !errors.Is(err, ErrNobody) {
		t.Fatalf("ask: %v", err)
	}
	keep(t, path, map[string]net.Listener{"gateway": listen(t)})
	if err := ask(t, path).Ready(); err != nil {
		t.Error(err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	path := socket(t)
	k := keep(t, path, map[string]net.Listener{"gateway": listen(t)})
	for _, text := range []string{"hello\n", `{"version":2,"say":"ask"}` + "\n", `{"version":1,"say":"ready"}` + "\n", "{}\n"} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		answer, _ := bufio.NewReader(c).ReadString('\n')
		if !strings.Contains(answer, `"no"`) || isTaken(k) {
			t.Errorf("%q got %q", text, answer)
		}
		_ = c.Close()
	}
}

// A folder may be deeper than a socket's name may be long.
func TestPathsOfDeepFolders(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	path := Path(deep, "all")
	if len(path) > maxPath || path == Path(deep, "gateway") || path != Path(deep, "all") {
		t.Errorf("%q", path)
	}
	k := keep(t, path, map[string]net.Listener{"gateway": listen(t)})
	if err := ask(t, path).Ready(); err != nil {
		t.Error(err)
	}
	_ = k.Close()
	_ = os.Remove(path)
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		have, want string
		same       bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true}, {"127.0.0.1:80", "127.0.0.1:0", true}, {"127.0.0.1:80", "localhost:80", true}, {"[::]:80", ":80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false}, {"127.0.0.1:80", ":80", false}, {"0.0.0.0:80", "127.0.0.1:80", false}, {"127.0.0.1:80", "nonsense", false},
	} {
		if got := same(c.have, c.want); got != c.same {
			t.Errorf("%s for %s: %v", c.have, c.want, got)
		}
	}
}

// X18, in small: listeners change hands twenty times under load, and no connection fails.
func TestNoConnectionIsLost(t *testing.T) {
	path := socket(t)
	current := listen(t)
	addr := current.Addr().String()
	var serving sync.WaitGroup
	serve := func(l net.Listener) {
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serving.Go(func() {
					_, _ = io.Copy(c, c) // an echo, until the caller has gone
					_ = c.Close()
				})
			}
		})
	}
	serve(current)
	k := keep(t, path, map[string]net.Listener{"gateway": current})
	stop := make(chan struct{})
	var calls atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := echo(addr, fmt.Sprintf("%d/%d", i, n)); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 20 {
		taken := ask(t, path)
		next := taken.Listener("gateway", addr)
		serve(next)
		if err := taken.Ready(); err != nil {
			t.Fatal(err)
		}
		<-k.Taken()
		_ = current.Close() // the other has a copy
		nextKeeper := keep(t, path, map[string]net.Listener{"gateway": next})
		if err := k.Close(); err != nil {
			t.Error(err)
		}
		for n := calls.Load(); calls.Load() < n+50 && !t.Failed(); {
			time.Sleep(time.Millisecond) // until callers have met this one
		}
		k, current = nextKeeper, next
	}
	close(stop)
	clients.Wait()
	_ = current.Close() // ends its loop
	serving.Wait()
	t.Logf("%d connections", calls.Load())
}

func echo(addr, text string) error {
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // a test that hangs should say where
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
		return fmt.Errorf("%q for %q: %w", b, text, err)
	}
	return nil
}

// A program that cannot start leaves the old one where it is.
func TestAnUpgradeThatFails(t *testing.T) {
	path := socket(t)
	k := keep(t, path, map[string]net.Listener{"gateway": listen(t)})
	k.program = filepath.Join(t.TempDir(), "none")
	if err := k.Upgrade(t.Context()); err == nil {
		t.Error("a program that is not there was started")
	}
	k.program = "/bin/false"
	if err := k.Upgrade(t.Context()); err == nil || !strings.Contains(err.Error(), "before it was ready") || isTaken(k) {
		t.Errorf("a program that ends at once: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k.program = os.Args[0]
	t.Setenv("HANDOVER_SLEEP", "1")
	if err := k.Upgrade(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("one that is not waited for: %v", err)
	}
}

func TestMain(m *testing.M) {
	if os.Getenv("HANDOVER_SLEEP") != "" { // a program that is never ready
		select {}
	}
	os.Exit(m.Run())
}
