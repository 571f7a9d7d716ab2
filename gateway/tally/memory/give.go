package memory

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/tally"
)

// When one process takes over from another, both accept signed calls for a moment, and the
// new one must know every nonce of the old one: otherwise a call could be replayed to the
// other. The old one gives all that it remembers (Give), and from then on asks the new one
// about each further nonce before it takes it for fresh.

const (
	giveMagic = "souk nonces 1\n"
	askFor    = time.Second // until the new process answers; after that it is taken for gone
	lastApp   = 0xFFFF      // in the place of an app's length
)

// Answers of the new process.
const (
	isFresh = iota
	isUsed
	isFull
)

// heir is the process that is asked about nonces.
type heir struct {
	mu     sync.Mutex // one question at a time
	conn   net.Conn
	buf    []byte
	broken bool
}

// Give hands all nonces to the process at the other end of conn, and asks it about further
// ones from then on. since is from when on nonces are remembered here. The connection is
// kept until the other end closes it or fails.
func (n *Nonces) Give(conn net.Conn, since time.Time) error {
	h := &heir{conn: conn}
	h.mu.Lock() // questions wait until all was given
	defer h.mu.Unlock()
	// Each nonce is in what is given, or is asked about, and never both: a book that is there
	// now is given as it is at one moment, and asks after that; one that comes later asks.
	n.appsMu.Lock()
	if old := n.heir.Swap(h); old != nil {
		_ = old.conn.Close() // it asked before, and was never ready
	}
	apps := maps.Clone(n.apps)
	n.appsMu.Unlock()
	err := n.give(conn, since, apps, h)
	if err != nil {
		h.broken = true
		n.heir.CompareAndSwap(h, nil)
	}
	return err
}

func (n *Nonces) give(conn net.Conn, since time.Time, apps map[control.AppID]*book, h *heir) error {
	w := bufio.NewWriterSize(conn, 64<<10)
	b := append([]byte(giveMagic), n.salt[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(n.slice))
	b = binary.BigEndian.AppendUint64(b, uint64(since.UnixNano()))
	if _, err := w.Write(b); err != nil {
		return err
	}
	for app, book := range apps {
		if len(app) >= lastApp {
			continue // no app has such a name
		}
		b = append(binary.BigEndian.AppendUint16(b[:0], uint16(len(app))), app...)
		book.mu.Lock()
		b = binary.BigEndian.AppendUint64(b, uint64(book.now))
		for _, seen := range book.seen {
			b = binary.BigEndian.AppendUint32(b, uint32(len(seen)))
			for m := range seen {
				b = append(b, m[:]...)
			}
		}
		book.heir = h
		book.mu.Unlock()
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if _, err := w.Write(binary.BigEndian.AppendUint16(b[:0], lastApp)); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var loaded [1]byte
	if _, err := io.ReadFull(conn, loaded[:]); err != nil {
		return fmt.Errorf("memory: the next process did not take the nonces: %w", err)
	}
	return nil
}

// ask asks about a nonce. What cannot be known is taken for fresh: the next process is gone,
// and its memory with it.
func (h *heir) ask(app control.AppID, m mark, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		return nil
	}
	b := append(binary.BigEndian.AppendUint16(h.buf[:0], uint16(len(app))), app...)
	b = binary.BigEndian.AppendUint64(append(b, m[:]...), uint64(now.UnixNano()))
	h.buf = b
	_ = h.conn.SetDeadline(time.Now().Add(askFor)) // a socket of ours has deadlines
	var answer [1]byte
	_, err := h.conn.Write(b)
	if err == nil {
		_, err = io.ReadFull(h.conn, answer[:])
	}
	if err != nil {
		h.broken = true
		_ = h.conn.Close() // of no more use
		return nil
	}
	switch answer[0] {
	case isUsed:
		return tally.ErrUsed
	case isFull:
		return tally.ErrFull
	}
	return nil
}

// Take takes the nonces that the process at the other end of conn gives, and says from when
// on it has remembered them. It is called before the first Use. Serve then answers what the
// other one asks.
func (n *Nonces) Take(conn net.Conn) (since time.Time, err error) {
	r := bufio.NewReaderSize(conn, 64<<10)
	head := make([]byte, len(giveMagic)+len(n.salt)+16)
	if _, err := io.ReadFull(r, head); err != nil {
		return since, err
	}
	if string(head[:len(giveMagic)]) != giveMagic {
		return since, errors.New("memory: the process before has nonces of another form")
	}
	head = head[len(giveMagic):]
	copy(n.salt[:], head)
	head = head[len(n.salt):]
	if slice := time.Duration(binary.BigEndian.Uint64(head)); slice != n.slice {
		return since, fmt.Errorf("memory: the process before keeps nonces for %v, we for %v", slice*slices, n.slice*slices)
	}
	since = time.Unix(0, int64(binary.BigEndian.Uint64(head[8:])))
	for {
		more, err := n.takeApp(r)
		if err != nil {
			return since, err
		}
		if !more {
			break
		}
	}
	_, err = conn.Write([]byte{1})
	return since, err
}

func (n *Nonces) takeApp(r io.Reader) (more bool, err error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return false, err
	}
	length := binary.BigEndian.Uint16(size[:])
	if length == lastApp {
		return false, nil
	}
	head := make([]byte, int(length)+8)
	if _, err := io.ReadFull(r, head); err != nil {
		return false, err
	}
	b := n.book(control.AppID(head[:length]))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = int64(binary.BigEndian.Uint64(head[length:]))
	for i := range b.seen {
		var count [4]byte
		if _, err := io.ReadFull(r, count[:]); err != nil {
			return false, err
		}
		// The room is made as they come: a number is easily said.
		seen := make(map[mark]struct{})
		for range binary.BigEndian.Uint32(count[:]) {
			var m mark
			if _, err := io.ReadFull(r, m[:]); err != nil {
				return false, err
			}
			seen[m] = struct{}{}
		}
		b.seen[i] = seen
		b.n += int64(len(seen))
		n.held.Add(int64(len(seen)))
	}
	return true, nil
}

// Serve answers what the process before asks, until it has gone.
func (n *Nonces) Serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		var size [2]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return
		}
		b := make([]byte, int(binary.BigEndian.Uint16(size[:]))+len(mark{})+8)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		app, rest := control.AppID(b[:len(b)-len(mark{})-8]), b[len(b)-len(mark{})-8:]
		answer := byte(isFresh)
		switch _, err := n.useMark(app, mark(rest[:len(mark{})]), time.Unix(0, int64(binary.BigEndian.Uint64(rest[len(mark{}):])))); {
		case errors.Is(err, tally.ErrUsed):
			answer = isUsed
		case err != nil:
			answer = isFull
		}
		if _, err := conn.Write([]byte{answer}); err != nil {
			return
		}
	}
}
