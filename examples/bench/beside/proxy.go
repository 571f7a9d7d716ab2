//go:build linux

package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

//go:embed conf
var conf embed.FS

// proxy is one of those that are compared.
type proxy struct {
	name    string
	open    bool   // it lets anybody in
	program string // that must be there
	command func(p *proxy) ([]string, error)

	folder  string
	port    int
	headers func(path string) []string
	process *exec.Cmd
	log     *os.File
}

const upstreamPort, firstPort = 19300, 19310

func proxies(self, solo string) []*proxy {
	none := func(string) []string { return nil }
	return []*proxy{
		{name: "floor", open: true, program: self, headers: none, command: func(p *proxy) ([]string, error) {
			return []string{self, "floor", "-port", strconv.Itoa(p.port), "-upstream", strconv.Itoa(upstreamPort)}, nil
		}},
		{name: "nginx", program: "nginx", headers: func(string) []string { return []string{"X-Key: " + keyName} }, command: func(p *proxy) ([]string, error) {
			return []string{"nginx", "-p", p.folder, "-c", filepath.Join(p.folder, "nginx.conf")},
				errors.Join(p.configure("nginx.conf"), p.keys(func(i int) string { return fmt.Sprintf("key%05d owner%d;", i, i) }))
		}},
		{name: "haproxy", program: "haproxy", headers: signed, command: func(p *proxy) ([]string, error) {
			return []string{"haproxy", "-db", "-f", filepath.Join(p.folder, "haproxy.cfg")},
				errors.Join(p.configure("haproxy.cfg"), p.keys(func(i int) string {
					return fmt.Sprintf("key%05d %s", i, base64.StdEncoding.EncodeToString(secretOf(i)))
				}))
		}},
		{name: "souk", program: solo, command: func(p *proxy) ([]string, error) {
			p.headers = p.written
			return []string{solo, "-port", strconv.Itoa(p.port), "-upstream", strconv.Itoa(upstreamPort), "-dir", filepath.Join(p.folder, "data")}, nil
		}},
	}
}

const (
	keyCount  = 10_000
	keyNumber = 4711
	keyName   = "key04711"
)

func secretOf(i int) []byte { return fmt.Appendf(nil, "the secret of %d", i) }

// signed are the headers of a call that haproxy checks.
func signed(path string) []string {
	mac := hmac.New(sha256.New, secretOf(keyNumber))
	fmt.Fprintf(mac, "GET:%s:%s", path, keyName)
	return []string{"X-Key: " + keyName, "X-Sign: " + hex.EncodeToString(mac.Sum(nil))}
}

// written are the headers that solo wrote down.
func (p *proxy) written(path string) []string {
	text, err := os.ReadFile(filepath.Join(p.folder, "data", "headers"))
	if err != nil {
		return nil // then it refuses us, and that is seen
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if only, rest, ok := strings.Cut(line, " "); ok && strings.HasPrefix(only, "/") {
			if only != path {
				continue
			}
			line = rest
		}
		list = append(list, line)
	}
	return list
}

func (p *proxy) configure(file string) error {
	text, err := conf.ReadFile("conf/" + file)
	if err != nil {
		return err
	}
	filled := strings.NewReplacer("@dir@", p.folder, "@port@", strconv.Itoa(p.port), "@upstream@", strconv.Itoa(upstreamPort)).Replace(string(text))
	return os.WriteFile(filepath.Join(p.folder, file), []byte(filled), 0o644)
}

func (p *proxy) keys(line func(int) string) error {
	var b strings.Builder
	for i := range keyCount {
		b.WriteString(line(i) + "\n")
	}
	return os.WriteFile(filepath.Join(p.folder, "keys"), []byte(b.String()), 0o644)
}

// start starts it on the proxies' core and waits until it lets calls through, and lets
// none through without their headers.
func (p *proxy) start(folder string, port int) error {
	p.folder, p.port = filepath.Join(folder, p.name), port
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return err
	}
	command, err := p.command(p)
	if err != nil {
		return err
	}
	if p.log, err = os.Create(filepath.Join(p.folder, "log")); err != nil {
		return err
	}
	if p.process, err = begin(command, p.log, proxyCore); err != nil {
		return err
	}
	status := 0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if status = probe(port, p.headers("/1k")); status == 200 {
			break
		}
		time.Sleep(20 * time.Millisecond) // until a program that we do not know is ready
	}
	if status != 200 {
		text, _ := os.ReadFile(p.log.Name()) // it is only to show
		return fmt.Errorf("%s answers %d: %s", p.name, status, text)
	}
	if got := probe(port, nil); !p.open && got != 400 && got != 401 && got != 403 {
		return fmt.Errorf("%s answers %d to a call without a key", p.name, got)
	}
	return nil
}

func (p *proxy) stop() {
	if p.process != nil {
		end(p.process)
	}
	if p.log != nil {
		_ = p.log.Close() // it was only written by others
	}
}

// probe asks once; 0: there was no answer.
func probe(port int, headers []string) int {
	r, err := http.NewRequest("GET", "http://127.0.0.1:"+strconv.Itoa(port)+"/1k", nil)
	if err != nil {
		return 0
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: time.Second}).DialContext}}
	a, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer a.Body.Close()
	_, _ = io.Copy(io.Discard, a.Body) // only the status is asked for
	return a.StatusCode
}

// seat is a thread that is bound to a core, and runs what it is sent: programs inherit the
// binding from the thread that starts them. It lives as long as we do, because the kernel
// ends programs that are to die with us when the thread that started them ends.
type seat chan func()

func newSeat(core int) seat {
	s := make(seat)
	go func() {
		runtime.LockOSThread()
		if runtime.NumCPU() > 1 {
			var set [16]uint64
			set[core/64] = 1 << (core % 64)
			// Where this is forbidden, the kernel chooses the cores.
			_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
		}
		for f := range s {
			f()
		}
	}()
	return s
}

// start starts a program here.
func (s seat) start(c *exec.Cmd) error {
	done := make(chan error)
	s <- func() { done <- c.Start() }
	return <-done
}

// The two cores of a run.
var proxyCore, loadCore = newSeat(0), newSeat(1)

// begin starts a program, with one thread of Go if it is one of those, that lives no longer
// than this one.
func begin(command []string, out *os.File, core seat) (*exec.Cmd, error) {
	c := exec.Command(command[0], command[1:]...)
	c.Stdout, c.Stderr = out, out
	c.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return c, core.start(c)
}

// end ends a program that begin started.
func end(c *exec.Cmd) {
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM) // it may have ended
	gone := make(chan struct{})
	go func() {
		_ = c.Wait() // however it ends
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // as above
		<-gone
	}
}
