// Package handover gives the listening sockets of one process to the next, so that a new
// binary takes over without a caller noticing. They meet at a socket in the data folder:
// the new one asks (Ask), gets the listeners, makes itself ready, and says so; from then on
// it accepts, and the old one (Keep) stops accepting and lets what it has under way end.
//
// Both accept from the same queue of the kernel, so that no connection is lost between
// them. If the new one ends or hangs before it is ready, nothing has happened.
//
// Why not two sockets on one port: what waits in the queue of the one that closes is reset
// (design/security.md, Hot upgrade: 5 of 21 777 new connections). It leaves to the server
// how kept connections are told to go, and to quota that two processes spend at once.
package handover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// version of what the two say to each other. One that is not ours is refused in words, and
// the old process goes on.
const version = 1

// Bounds of a handover.
const (
	maxListeners = 64
	readyFor     = 2 * time.Minute // until a process that asked is ready
	wordFor      = 10 * time.Second
)

// ErrNobody says that no process keeps the socket.
var ErrNobody = errors.New("handover: nobody to take over from")

// word is what they say, a line of JSON each.
type word struct {
	Version   int      `json:"version"`
	Say       string   `json:"say"` // "ask", "take", "ready", "yours", "no"; "state"
	Listeners []string `json:"listeners,omitempty"`
	Why       string   `json:"why,omitempty"`
}

// Taken is what a process took over, until it is ready.
type Taken struct {
	path      string
	conn      *net.UnixConn
	mu        sync.Mutex // guards listeners
	listeners map[string]net.Listener
}

// Ask takes over from the process that keeps the socket. ErrNobody: there is none, and the
// program starts as usual.
func Ask(ctx context.Context, path string) (*Taken, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	t := &Taken{path: path, conn: c, listeners: map[string]net.Listener{}}
	if err := errors.Join(friend(c), t.ask()); err != nil {
		return nil, errors.Join(fmt.Errorf("handover: %w", err), t.Close())
	}
	return t, nil
}

func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		if isNobody(err) {
			return nil, ErrNobody
		}
		return nil, fmt.Errorf("handover: %w", err)
	}
	return c.(*net.UnixConn), nil
}

func (t *Taken) ask() error {
	_ = t.conn.SetDeadline(time.Now().Add(wordFor)) // a socket of ours has deadlines
	if err := say(t.conn, word{Say: "ask"}, nil); err != nil {
		return err
	}
	w, files, err := hear(t.conn)
	defer func() {
		for _, f := range files {
			_ = f.Close() // the listeners have copies
		}
	}()
	if err != nil {
		return err
	}
	if w.Say != "take" {
		return fmt.Errorf("the running process refuses: %s", w.Why)
	}
	if len(files) != len(w.Listeners) {
		return fmt.Errorf("%d listeners were named, %d came", len(w.Listeners), len(files))
	}
	for i, name := range w.Listeners {
		l, err := net.FileListener(files[i])
		if err != nil {
			return err
		}
		t.listeners[name] = l
	}
	return nil
}

// Listener gives a listener that was taken over, once; nil if there is none of the name, or
// it is not on this address. Port 0 is any port. t may be nil.
func (t *Taken) Listener(name, address string) net.Listener {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.listeners[name]
	if l == nil || !same(l.Addr().String(), address) {
		return nil
	}
	delete(t.listeners, name)
	return l
}

// same reports whether a listener on one address is what somebody wants who names another.
func same(have, want string) bool {
	if have == want {
		return true
	}
	h, err := net.ResolveTCPAddr("tcp", have)
	if err != nil {
		return false
	}
	w, err := net.ResolveTCPAddr("tcp", want)
	if err != nil || w.Port != 0 && w.Port != h.Port {
		return false
	}
	return w.IP.Equal(h.IP) || len(w.IP) == 0 && h.IP.IsUnspecified()
}

// State is a connection to the old process, for what else it has to tell; its Keeper's state
// is at the other end. It is the caller's, and outlives the handover.
func (t *Taken) State(ctx context.Context) (net.Conn, error) {
	c, err := dial(ctx, t.path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(friend(c), say(c, word{Say: "state"}, nil)); err != nil {
		return nil, errors.Join(fmt.Errorf("handover: %w", err), c.Close())
	}
	return c, nil
}

// Ready says that we are, and returns when the old process has promised to go. An error
// means that it did not: it may go on, and we must not.
func (t *Taken) Ready() error {
	defer func() { _ = t.Close() }()                // all was said
	_ = t.conn.SetDeadline(time.Now().Add(wordFor)) // as above
	if err := say(t.conn, word{Say: "ready"}, nil); err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	w, _, err := hear(t.conn)
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	if w.Say != "yours" {
		return fmt.Errorf("handover: the running process stays: %s", w.Why)
	}
	return nil
}

// Close lets go of what was not used. Before Ready it leaves everything to the old process.
// t may be nil.
func (t *Taken) Close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	for name, l := range t.listeners {
		_ = l.Close() // a copy that nobody wanted
		delete(t.listeners, name)
	}
	t.mu.Unlock()
	return t.conn.Close()
}

// Keeper waits for the next process.
type Keeper struct {
	path      string
	program   string
	socket    *net.UnixListener
	names     []string
	listeners []net.Listener
	state     func(net.Conn)

	turn  sync.Mutex // one handover at a time
	once  sync.Once
	taken chan struct{}
	shut  chan struct{}
	wait  sync.WaitGroup
}

// Keep offers listeners, by name, to whoever asks at the socket: programs of the same user
// only. It takes the socket over from a process that kept it before. state, which may be
// nil, is called in a goroutine of its own with a connection to a process that makes itself
// ready and asks for more than listeners; the connection is then its.
func Keep(path string, listeners map[string]net.Listener, state func(net.Conn)) (*Keeper, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	k := &Keeper{path: path, program: program, state: state, taken: make(chan struct{}), shut: make(chan struct{})}
	for name, l := range listeners {
		if l != nil {
			k.names, k.listeners = append(k.names, name), append(k.listeners, l)
		}
	}
	if len(k.names) > maxListeners {
		return nil, fmt.Errorf("handover: %d listeners are too many", len(k.names))
	}
	if k.socket, err = bind(path); err != nil {
		return nil, fmt.Errorf("handover: %w", err)
	}
	k.wait.Go(k.serve)
	return k, nil
}

// bind listens at a path that nobody else then has: the file of a process that is gone, or
// that we took over from, is replaced in one step.
func bind(path string) (*net.UnixListener, error) {
	next := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(next) // of a process that had our number
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then the path may be another's
	if err := errors.Join(os.Chmod(next, 0o600), os.Rename(next, path)); err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(next))
	}
	return l, nil
}

// Path is where the socket of a program on a data folder is; role tells several programs on
// one folder apart. Where the folder's path is longer than a socket's may be, it is a name
// made of it among the temporary files.
func Path(folder, role string) string {
	path := filepath.Join(folder, "handover-"+role+".sock")
	if len(path) <= maxPath {
		return path
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(os.TempDir(), "souk-"+hex.EncodeToString(sum[:12])+".sock")
}

// maxPath leaves room, in the 104 bytes that a socket's name has at least, for the number
// of a process behind it.
const maxPath = 90

func (k *Keeper) serve() {
	for {
		c, err := k.socket.AcceptUnix()
		if err != nil {
			return
		}
		k.wait.Go(func() {
			if !k.hand(c) {
				_ = c.Close() // all was said
			}
		})
	}
}

// hand carries out one handover. It reports whether the connection is another's now.
func (k *Keeper) hand(c *net.UnixConn) (kept bool) {
	refuse := func(why string) {
		_ = say(c, word{Say: "no", Why: why}, nil) // who asked has gone, or reads it
	}
	_ = c.SetDeadline(time.Now().Add(wordFor)) // a socket of ours has deadlines
	// Whoever asks is heard first: an answer to what was not said yet may be lost.
	w, _, err := hear(c)
	if err != nil || w.Say != "ask" && (w.Say != "state" || k.state == nil) {
		refuse(fmt.Sprintf("this is version %d", version))
		return false
	}
	if err := friend(c); err != nil {
		refuse(err.Error())
		return false
	}
	if w.Say == "state" {
		_ = c.SetDeadline(time.Time{}) // whoever has it sets its own
		go k.state(c)
		return true
	}
	one := k.turn.TryLock()
	if one {
		defer k.turn.Unlock()
	}
	select {
	case <-k.taken:
		refuse("another process has taken over; ask again, and it will answer")
		return false
	default:
	}
	if !one {
		refuse("another process is taking over already")
		return false
	}
	if err := say(c, word{Say: "take", Listeners: k.names}, k.listeners); err != nil {
		return false
	}
	_ = c.SetDeadline(time.Now().Add(readyFor)) // as above
	stop := make(chan struct{})
	defer close(stop)
	go func() { // Close does not wait for somebody who makes himself ready
		select {
		case <-k.shut:
			_ = c.SetDeadline(time.Now()) // ends hear
		case <-stop:
		}
	}()
	if w, _, err := hear(c); err != nil || w.Say != "ready" {
		return false // it was not to be; we go on
	}
	// From here on both accept, until whoever owns us has heard of it.
	if err := say(c, word{Say: "yours"}, nil); err != nil {
		return false
	}
	k.once.Do(func() { close(k.taken) })
	return false
}

// Taken is closed when another process has taken over. The owner then stops accepting, and
// lets what is under way end. Nobody takes over from a keeper that is nil.
func (k *Keeper) Taken() <-chan struct{} {
	if k == nil {
		return nil
	}
	return k.taken
}

// Upgrade starts the program anew, as it was started, from the file where it was then, and
// waits until it has taken over. An error says why it did not; then we go on.
func (k *Keeper) Upgrade(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyFor)
	defer cancel()
	next := exec.Command(k.program, os.Args[1:]...)
	next.Stdin, next.Stdout, next.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := next.Start(); err != nil {
		return fmt.Errorf("handover: start %s: %w", k.program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- next.Wait() }()
	select {
	case <-k.taken:
		return nil
	case err := <-ended:
		select {
		case <-k.taken: // it was ready, and ended then: that is its own affair
			return nil
		default:
		}
		return fmt.Errorf("handover: %s ended before it was ready: %w", k.program, errors.Join(errors.New("its log says more"), err))
	case <-ctx.Done():
		_ = next.Process.Kill() // it may have ended this moment
		return fmt.Errorf("handover: %s was not ready in time: %w", k.program, errors.Join(ctx.Err(), <-ended))
	}
}

// Close stops offering. The listeners stay open: they are their owner's.
func (k *Keeper) Close() error {
	if k == nil {
		return nil
	}
	select {
	case <-k.shut:
		return nil
	default:
		close(k.shut)
	}
	err := k.socket.Close()
	k.wait.Wait()
	select {
	case <-k.taken: // the path is another's
	default:
		_ = os.Remove(k.path) // it may be gone
	}
	return err
}

func encode(w word) []byte {
	w.Version = version
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // a struct of texts and numbers
	}
	return append(b, '\n')
}

func decode(b []byte) (w word, err error) {
	if err := json.Unmarshal(b, &w); err != nil {
		return w, fmt.Errorf("not a word of ours: %w", err)
	}
	if w.Version != version {
		return w, fmt.Errorf("the other process speaks version %d, we speak %d; stop it and start anew", w.Version, version)
	}
	return w, nil
}
