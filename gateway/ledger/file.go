package ledger

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/souk-market/souk/gateway/control"
	"github.com/souk-market/souk/gateway/storage"
)

// The file of the last good configuration (gateway.md C6): all that a start reads from the
// database, in one piece, with secrets as sealed as they are there.
//
//	magic | version | change number | items | 0 | seal
//
// An item is a kind, the length of its parts and the parts. The seal is an HMAC-SHA-256 of
// all before it, under a key that is derived from the master key: what was torn, altered, or
// made by a gateway with another master key is not read.
const (
	fileMagic   = "souk gateway configuration\n"
	fileVersion = 1
)

// The kinds of items.
const (
	itemEnd byte = iota
	itemGroup
	itemRoute
	itemUpstream
	itemCertificate
	itemSecret
	itemApp
)

// Errors of the file.
var (
	ErrTornFile = errors.New("ledger: the file of the last configuration is torn, was altered, or belongs to a gateway with another master key; nothing is served from it: bring the database back, or move the file away")
	ErrNewFile  = errors.New("ledger: the file of the last configuration was written by a newer souk; start that version, or bring the database back")
)

// sealing writes and remembers the seal.
type sealing struct {
	*bufio.Writer
	mac hash.Hash
	err error
	b   []byte
}

func (s *safe) fileMAC() hash.Hash { return hmac.New(sha256.New, s.fileKey) }

func (w *sealing) Write(b []byte) (int, error) {
	if w.err == nil {
		w.mac.Write(b)
		_, w.err = w.Writer.Write(b)
	}
	return len(b), w.err
}

func (w *sealing) item(kind byte, parts ...[]byte) {
	w.b = append(w.b[:0], kind, byte(len(parts)))
	for _, p := range parts {
		w.b = binary.AppendUvarint(w.b, uint64(len(p)))
	}
	_, _ = w.Write(w.b) // it keeps its error
	for _, p := range parts {
		_, _ = w.Write(p)
	}
}

// Save writes the file: to another name, to the disk, and then in the place of the old one,
// so that there is always a whole one.
func (l *Ledger) Save(ctx context.Context) (err error) {
	db, err := l.base()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(l.file), filepath.Base(l.file)+".new-*")
	if err != nil {
		return fmt.Errorf("ledger: keep the last configuration: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("ledger: keep the last configuration: %w", errors.Join(err, os.Remove(f.Name())))
		}
	}()
	w := &sealing{Writer: bufio.NewWriterSize(f, 64<<10), mac: l.safe.fileMAC()}
	err = db.View(ctx, func(q storage.Queryer) error { return dump(ctx, q, w) })
	if err := errors.Join(err, w.err); err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = w.Writer.Write(w.mac.Sum(nil))
	if err := errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), l.file); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(l.file))
}

// syncFolder makes a rename last. Where folders cannot be synced it is left to the system.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return nil
	}
	_ = d.Sync()
	return d.Close()
}

// dump writes what the database has.
func dump(ctx context.Context, q storage.Queryer, w *sealing) error {
	var number int64
	if err := q.QueryRow(ctx, `SELECT COALESCE(MAX(number), 0) FROM gw_change`).Scan(&number); err != nil {
		return err
	}
	_, _ = w.Write([]byte(fileMagic))
	_, _ = w.Write(binary.BigEndian.AppendUint64([]byte{fileVersion}, uint64(number)))
	for _, t := range []struct {
		kind  byte
		query string
		parts int
	}{
		{itemGroup, `SELECT body FROM gw_group`, 1},
		{itemRoute, `SELECT body FROM gw_route`, 1},
		{itemUpstream, `SELECT body FROM gw_upstream`, 1},
		{itemCertificate, `SELECT body FROM gw_certificate`, 1},
		{itemSecret, `SELECT id, live, value FROM gw_secret`, 3},
		{itemApp, `SELECT id, owner, live, app_key, secret, code_mac FROM gw_app`, 6},
	} {
		if err := dumpRows(ctx, q, w, t.kind, t.query, t.parts); err != nil {
			return err
		}
	}
	w.item(itemEnd)
	return nil
}

func dumpRows(ctx context.Context, q storage.Queryer, w *sealing, kind byte, query string, n int) error {
	rows, err := q.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	raw, into, parts := make([]sql.RawBytes, n), make([]any, n), make([][]byte, n)
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i := range raw {
			parts[i] = raw[i]
		}
		if w.item(kind, parts...); w.err != nil {
			return w.err
		}
	}
	return rows.Err()
}

// loadFile reads the file and starts from it. Its seal is checked before anything of it is
// used.
func (l *Ledger) loadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only, or closed already
	if err := l.safe.checkFile(f); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReaderSize(f, 64<<10)
	head := make([]byte, len(fileMagic)+1+8)
	if _, err := io.ReadFull(r, head); err != nil {
		return ErrTornFile
	}
	if head[len(fileMagic)] != fileVersion {
		return ErrNewFile
	}
	var c config
	c.init()
	apps := newApps()
	var parts [][]byte
	for {
		kind, err := readItem(r, &parts)
		if err != nil {
			return err
		}
		if kind == itemEnd {
			break
		}
		if err := l.putItem(&c, apps, kind, parts); err != nil {
			return fmt.Errorf("the file of the last configuration: %w", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps.Store(apps)
	l.replace(c, int64(binary.BigEndian.Uint64(head[len(fileMagic)+1:])))
	l.saving.keep() // it is what is in the file
	return nil
}

// checkFile checks the seal of a file.
func (s *safe) checkFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	body := info.Size() - sha256.Size
	if body < int64(len(fileMagic))+1+8 {
		return ErrTornFile
	}
	mac := s.fileMAC()
	if _, err := io.CopyN(mac, f, body); err != nil {
		return err
	}
	seal, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if !hmac.Equal(mac.Sum(nil), seal) {
		return ErrTornFile
	}
	return nil
}

// fileNumber is the change number of a whole file; -1: there is none.
func (s *safe) fileNumber(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return -1
	}
	defer func() { _ = f.Close() }() // read only, or closed already
	if s.checkFile(f) != nil {
		return -1
	}
	head := make([]byte, len(fileMagic)+1+8)
	if _, err := f.ReadAt(head, 0); err != nil || head[len(fileMagic)] != fileVersion {
		return -1
	}
	return int64(binary.BigEndian.Uint64(head[len(fileMagic)+1:]))
}

// readItem reads an item into parts, whose memory it uses again.
func readItem(r *bufio.Reader, parts *[][]byte) (kind byte, err error) {
	torn := func(err error) (byte, error) { return 0, fmt.Errorf("%w: %w", ErrTornFile, err) }
	if kind, err = r.ReadByte(); err != nil {
		return torn(err)
	}
	n, err := r.ReadByte()
	if err != nil {
		return torn(err)
	}
	sizes := make([]uint64, n)
	for i := range sizes {
		if sizes[i], err = binary.ReadUvarint(r); err != nil || sizes[i] > 64<<20 {
			return torn(err)
		}
	}
	for len(*parts) < int(n) {
		*parts = append(*parts, nil)
	}
	*parts = (*parts)[:n]
	for i, size := range sizes {
		p := &(*parts)[i]
		if uint64(cap(*p)) < size {
			*p = make([]byte, size)
		}
		*p = (*p)[:size]
		if _, err := io.ReadFull(r, *p); err != nil {
			return torn(err)
		}
	}
	return kind, nil
}

func (l *Ledger) putItem(c *config, to *apps, kind byte, parts [][]byte) error {
	switch kind {
	case itemGroup:
		return readBody(parts, func(g *control.Group) { c.groups[g.ID] = g })
	case itemRoute:
		return readBody(parts, func(r *control.Route) { c.routes[r.ID] = r })
	case itemUpstream:
		return readBody(parts, func(u *control.Upstream) { c.upstreams[u.ID] = u })
	case itemCertificate:
		return readBody(parts, func(k *control.Certificate) { c.certificates[k.ID] = k })
	case itemSecret:
		if len(parts) != 3 {
			return ErrTornFile
		}
		c.secrets[control.SecretID(parts[0])] = sealed{live: string(parts[1]) == "1", value: append([]byte(nil), parts[2]...)}
		return nil
	case itemApp:
		if len(parts) != 6 {
			return ErrTornFile
		}
		a := App{ID: control.AppID(parts[0]), Owner: string(parts[1]), Live: string(parts[2]) == "1", Key: string(parts[3])}
		return l.putApp(&a, parts[4], parts[5], to)
	}
	return fmt.Errorf("an item of the unknown kind %d", kind)
}

func readBody[T any](parts [][]byte, put func(*T)) error {
	if len(parts) != 1 {
		return ErrTornFile
	}
	v := new(T)
	if err := json.Unmarshal(parts[0], v); err != nil {
		return err
	}
	put(v)
	return nil
}

// saver says when the file is to be written: some time after a change, so that many changes
// are one file, and the longer writing takes the less often.
type saver struct {
	mu    sync.Mutex
	dirty bool
	due   time.Time // not before
	took  time.Duration
	busy  sync.WaitGroup
	on    bool // a file is being written
}

const (
	saveAfter = 2 * time.Second
	saveShare = 50 // of the time at most one part in so many goes into files
)

func (s *saver) changed(l *Ledger) {
	if l.file == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		s.dirty, s.due = true, time.Now().Add(max(saveAfter, saveShare*s.took))
	}
}

// keep says that the file is as good as what there is.
func (s *saver) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
}

// tick writes the file if it is due, behind its caller.
func (s *saver) tick(ctx context.Context, l *Ledger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty || s.on || time.Now().Before(s.due) || l.db.Load() == nil {
		return
	}
	s.dirty, s.on = false, true
	s.busy.Go(func() { s.save(ctx, l) })
}

func (s *saver) save(ctx context.Context, l *Ledger) {
	began := time.Now()
	err := l.Save(ctx)
	s.mu.Lock()
	s.on, s.took = false, time.Since(began)
	s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			l.log.Error("the last configuration was not kept; the one before it was", zap.Error(err))
		}
		s.changed(l)
	}
}

// stop writes the file if something changed since.
func (s *saver) stop(ctx context.Context, l *Ledger) error {
	s.busy.Wait()
	s.mu.Lock()
	dirty := s.dirty
	s.dirty = false
	s.mu.Unlock()
	if !dirty || l.db.Load() == nil {
		return nil
	}
	return l.Save(ctx)
}

// forgetTemporary drops files that a writer left when it was killed.
func forgetTemporary(path string) {
	list, err := filepath.Glob(path + ".new-*")
	if err != nil {
		return
	}
	for _, f := range list {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}
