package command

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// gatewayBefore starts a gateway with the words of a shell before it, and returns where it
// listens, its process and an AppCode for it.
func gatewayBefore(t *testing.T, shell, seller string, more ...string) (addr string, pid int, code string) {
	t.Helper()
	folder := t.TempDir()
	code = market(t, folder, seller).AppCode
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = free.Addr().String()
	_ = free.Close() // it was only to find a port
	log := &lines{}
	args := append([]string{"gateway", "--data", folder, "--gateway", addr, "--ops", "", "--allow-private-upstreams"}, more...)
	p := &program{t: t, log: log, wait: make(chan error, 1)}
	p.cmd = exec.Command("sh", append([]string{"-c", shell + ` exec "$0" "$@"`, os.Args[0]}, args...)...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.wait <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // what it has is the test's
		<-p.wait
		if t.Failed() {
			t.Logf("the program said:\n%s", log)
		}
	})
	for end := time.Now().Add(30 * time.Second); (&caller{addr: addr, code: code}).call("/first") != nil; {
		if time.Now().After(end) {
			t.Fatal("it does not start")
		}
		time.Sleep(2 * time.Millisecond) // another process is waited for
	}
	return addr, p.cmd.Process.Pid, code
}

// X21: with 256 descriptors and twice as many callers the gateway takes as many as it can
// serve. Those keep being served, the others wait without costing a processor, and all hear
// something when others have left: an answer or, of a few, that the gateway is busy. What is
// charged is what the seller has served.
func TestDescriptorsRunOut(t *testing.T) {
	gate := make(chan struct{})
	var held, served, busy, failed atomic.Int64
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/held" {
			held.Add(1)
			<-gate
		}
		served.Add(1)
		_, _ = io.WriteString(w, "ok")
	}))
	defer seller.Close()
	addr, pid, code := gatewayBefore(t, "ulimit -n 256;", seller.URL)

	const callers = 500
	asked := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: a.test\r\nAuthorization: APPCODE " + code + "\r\n\r\n"
	}
	var conns []net.Conn
	for range callers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, asked("/held")); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for end := time.Now().Add(10 * time.Second); held.Load() < 90; {
		if time.Now().After(end) {
			t.Fatal(held.Load(), "calls are under way, want 90 or more")
		}
		time.Sleep(time.Millisecond) // other processes are waited for
	}
	// All that can be is under way: whoever waits must not spin.
	before := ticks(t, pid)
	time.Sleep(time.Second) // the time whose cost is measured
	if spent := ticks(t, pid) - before; spent >= 20 {
		t.Errorf("%d %% of a processor while callers wait, want less than 20", spent)
	}
	close(gate)
	var wait sync.WaitGroup
	for _, c := range conns {
		wait.Go(func() {
			_ = c.SetDeadline(time.Now().Add(30 * time.Second)) // a test that hangs should say where
			a, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil)
			switch {
			case err == nil && a.StatusCode == 200:
			case err == nil && a.StatusCode == 503 && a.Header.Get("X-Ca-Error-Code") == "D503BB" && a.Header.Get("X-Ca-Charged") == "0":
				busy.Add(1)
			default:
				failed.Add(1)
				t.Log(a, err)
			}
			_ = c.Close() // the next one's turn
		})
	}
	wait.Wait()
	if failed.Load() > 0 || busy.Load() > callers/20 {
		t.Errorf("of %d calls %d were lost and %d turned away, want none and a twentieth at most", callers, failed.Load(), busy.Load())
	}
	// It has recovered.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second)) // as above
	_, _ = io.WriteString(c, asked("/after"))
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || a.StatusCode != 200 {
		t.Fatal(a, err)
	}
	if left, want := count(t, a.Header.Get("X-Ca-Quota-Remaining")), 10_000_000-int(served.Load()); left != want {
		t.Errorf("%d calls left, want %d", left, want)
	}
}

// X19: an idle caller who has called once takes little memory of the process. 18 000 in
// make chaos.
func TestIdleCallers(t *testing.T) {
	n := number(t, "SOUK_IDLE", 2000)
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	defer seller.Close()
	addr, pid, code := gatewayBefore(t, "", seller.URL, "--max-connections", strconv.Itoa(n+100))
	request := fmt.Sprintf("GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: APPCODE %s\r\n\r\n", code)
	dial := func() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(20 * time.Second)) // a test that hangs should say where
		_, _ = io.WriteString(c, request)
		if a, err := http.ReadResponse(bufio.NewReaderSize(c, 512), nil); err != nil || a.StatusCode != 200 {
			t.Fatal(a, err)
		}
	}
	for range 50 {
		dial()
	}
	before := resident(t, pid)
	for range n {
		dial()
	}
	each := (resident(t, pid) - before) / n
	t.Logf("%d bytes for each of %d idle callers, of %d in all", each, n, resident(t, pid))
	if each > 8<<10 {
		t.Errorf("%d bytes for each idle caller, want 8 KiB at most", each)
	}
}

// fields are the words of a file about a process.
func fields(t *testing.T, pid int, file string) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

func count(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ticks is the processor time that a process has had, in hundredths of a second; proc(5).
func ticks(t *testing.T, pid int) int {
	f := fields(t, pid, "stat")
	return count(t, f[13]) + count(t, f[14])
}

// resident is how many bytes of memory a process has; proc(5).
func resident(t *testing.T, pid int) int {
	return count(t, fields(t, pid, "statm")[1]) * os.Getpagesize()
}
